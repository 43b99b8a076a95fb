import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { OauthClient } from "./rules.ts";

type Row = {
  client_id: string;
  application_id: string;
  kind: "CONFIDENTIAL" | "NATIVE";
  enabled: boolean;
  name: string;
  redirect_uris: string[];
  scopes: string[];
  sector: string;
};

const find = statement(
  "auth.client.find",
  `SELECT client_id, application_id, kind, enabled, name, redirect_uris, scopes, sector
   FROM auth.client WHERE client_id = $1`,
);
const upsert = statement(
  "auth.client.upsert",
  `INSERT INTO auth.client (client_id, application_id, kind, enabled, name, redirect_uris, scopes, sector)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
   ON CONFLICT (client_id) DO UPDATE SET application_id = excluded.application_id, kind = excluded.kind,
     enabled = excluded.enabled, name = excluded.name, redirect_uris = excluded.redirect_uris,
     scopes = excluded.scopes, sector = excluded.sector`,
);
const findSecrets = statement(
  "auth.client_secret.find",
  `SELECT digest FROM auth.client_secret WHERE client_id = $1 AND (expires_at_ms IS NULL OR expires_at_ms > $2)
   ORDER BY issued_at_ms DESC LIMIT 8`,
);
const retireSecrets = statement(
  "auth.client_secret.retire",
  `UPDATE auth.client_secret SET expires_at_ms = $2 WHERE client_id = $1 AND expires_at_ms IS NULL`,
);
const insertSecret = statement(
  "auth.client_secret.insert",
  `INSERT INTO auth.client_secret (digest, client_id, issued_at_ms) VALUES ($1, $2, $3)`,
);
const purgeSecretsBatch = statement(
  "auth.client_secret.purge",
  `DELETE FROM auth.client_secret WHERE digest = ANY (ARRAY(
     SELECT digest FROM auth.client_secret WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

export async function findClient(db: Queryable, clientId: string): Promise<OauthClient | undefined> {
  const row = (await db.query<Row>(find(clientId))).rows[0];
  if (row === undefined) return undefined;
  return {
    clientId: row.client_id,
    applicationId: row.application_id,
    kind: row.kind,
    enabled: row.enabled,
    name: row.name,
    redirectUris: row.redirect_uris,
    scopes: row.scopes,
    sector: row.sector,
    firstParty: false,
  };
}

export async function putClient(tx: Transaction, client: OauthClient): Promise<void> {
  const { clientId, applicationId, kind, enabled, name, redirectUris, scopes, sector } = client;
  await tx.query(upsert(clientId, applicationId, kind, enabled, name, redirectUris, scopes, sector));
}

/** Digests of the secrets that are valid now, newest first. */
export async function findSecretDigests(db: Queryable, clientId: string, nowMs: number): Promise<readonly Buffer[]> {
  return (await db.query<{ digest: Buffer }>(findSecrets(clientId, nowMs))).rows.map((row) => row.digest);
}

/** Stores a new secret; those before end at `formerUntilMs`. */
export async function putSecret(
  tx: Transaction,
  secret: { readonly clientId: string; readonly digest: Buffer; readonly issuedAtMs: number },
  formerUntilMs: number,
): Promise<void> {
  await tx.query(retireSecrets(secret.clientId, formerUntilMs));
  await tx.query(insertSecret(secret.digest, secret.clientId, secret.issuedAtMs));
}

/** Removes at most `batchMax` secrets whose overlap is over; returns how many. */
export async function purgeSecrets(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeSecretsBatch(nowMs, batchMax))).rowCount;
}
