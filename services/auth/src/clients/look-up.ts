import type { Queryable } from "@fujie/kit/db";
import { commandLineClient, type OauthClient } from "./rules.ts";
import { findClient } from "./store.ts";

const CLIENT_ID_LENGTH_MAX = 128;

/** The client of that id, if there is one and it is not suspended. */
export async function lookUpClient(db: Queryable, clientId: string): Promise<OauthClient | undefined> {
  if (clientId === commandLineClient.clientId) return commandLineClient;
  if (clientId.length > CLIENT_ID_LENGTH_MAX || clientId.includes("\0")) return undefined;
  const client = await findClient(db, clientId);
  return client?.enabled === true ? client : undefined;
}
