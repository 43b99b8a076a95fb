import type { HandlerContext } from "@connectrpc/connect";
import { DomainError } from "@fujie/kit/errors";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { type AccountRow, findAccount } from "./store.ts";

/**
 * The real-name person who calls, as the registry knows him now: the level in the token may be older than its end.
 * Throws LEVEL_TOO_LOW for anybody else (SU-7.1.1c).
 */
export async function requireRealName({ db }: Pick<Context, "db">, call: HandlerContext): Promise<AccountRow> {
  const { kind, subject } = subjectOf(call);
  const account = kind === "person" ? await findAccount(db, subject) : undefined;
  if (account?.state !== "ACTIVE" || account.level < 2) throw new DomainError("LEVEL_TOO_LOW");
  return account;
}
