import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { VersionedDigest } from "@fujie/kit/keys";

export interface StoredPassword {
  readonly accountId: string;
  readonly sealedHash: Buffer;
}

const find = statement(
  "auth.password.find",
  `SELECT p.account_id, p.sealed_hash FROM unnest($1::smallint[], $2::bytea[]) AS asked (version, digest)
   JOIN auth.login_name n USING (version, digest) JOIN auth.password p USING (account_id) LIMIT 1`,
);
const upsert = statement(
  "auth.password.upsert",
  `INSERT INTO auth.password (account_id, sealed_hash, bound_at_ms) VALUES ($1, $2, $3)
   ON CONFLICT (account_id) DO UPDATE SET sealed_hash = excluded.sealed_hash, bound_at_ms = excluded.bound_at_ms`,
);
const removeNames = statement("auth.login_name.remove", `DELETE FROM auth.login_name WHERE account_id = $1`);
const insertNames = statement(
  "auth.login_name.insert",
  `INSERT INTO auth.login_name (version, digest, account_id)
   SELECT version, digest, $3 FROM unnest($1::smallint[], $2::bytea[]) AS given (version, digest)
   ON CONFLICT (version, digest) DO UPDATE SET account_id = excluded.account_id`,
);
const remove = statement(
  "auth.password.remove",
  `DELETE FROM auth.password WHERE account_id = $1 AND bound_at_ms <= $2`,
);

/** The password behind a login name, by its digests under every live key version. */
export async function findPassword(
  db: Queryable,
  digests: readonly VersionedDigest[],
): Promise<StoredPassword | undefined> {
  const { rows } = await db.query<{ account_id: string; sealed_hash: Buffer }>(find(...columnsOf(digests)));
  const row = rows[0];
  return row === undefined ? undefined : { accountId: row.account_id, sealedHash: row.sealed_hash };
}

/**
 * Binds a password and the login name to the account. The registry says whose a login name is: one that belonged to
 * another account before (cancelled since) is taken over.
 */
export async function putPassword(
  tx: Transaction,
  password: StoredPassword & { readonly boundAtMs: number; readonly loginName: readonly VersionedDigest[] },
): Promise<void> {
  await tx.query(upsert(password.accountId, password.sealedHash, password.boundAtMs));
  await tx.query(removeNames(password.accountId));
  await tx.query(insertNames(...columnsOf(password.loginName), password.accountId));
}

/** Removes what was bound up to then; true when there was something. */
export async function removePassword(tx: Transaction, accountId: string, boundUpToMs: number): Promise<boolean> {
  return (await tx.query(remove(accountId, boundUpToMs))).rowCount > 0;
}

function columnsOf(digests: readonly VersionedDigest[]): [number[], Buffer[]] {
  return [digests.map(({ version }) => version), digests.map(({ digest }) => digest)];
}
