import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";

export interface OpenidRecord {
  readonly model: string;
  /** SHA-256 of the id, which is a secret of whoever holds it. */
  readonly digest: Buffer;
  readonly uid: string | undefined;
  readonly grantId: string | undefined;
  readonly sessionId: string | undefined;
  readonly sealed: Buffer;
  readonly consumed: boolean;
  readonly expiresAtMs: number;
}

type Row = { digest: Buffer; sealed: Buffer; consumed: boolean };

const upsert = statement(
  "auth.openid.upsert",
  `INSERT INTO auth.openid_record (model, digest, uid, grant_id, session_id, sealed, expires_at_ms)
   VALUES ($1, $2, $3, $4, $5, $6, $7)
   ON CONFLICT (model, digest) DO UPDATE SET uid = excluded.uid, grant_id = excluded.grant_id,
     session_id = excluded.session_id, sealed = excluded.sealed, expires_at_ms = excluded.expires_at_ms`,
);
const find = statement(
  "auth.openid.find",
  `SELECT digest, sealed, consumed FROM auth.openid_record WHERE model = $1 AND digest = $2 AND expires_at_ms > $3`,
);
const findByUid = statement(
  "auth.openid.find_uid",
  `SELECT digest, sealed, consumed FROM auth.openid_record WHERE model = $1 AND uid = $2 AND expires_at_ms > $3`,
);
const consume = statement(
  "auth.openid.consume",
  `UPDATE auth.openid_record SET consumed = true WHERE model = $1 AND digest = $2 AND NOT consumed`,
);
const remove = statement("auth.openid.remove", `DELETE FROM auth.openid_record WHERE model = $1 AND digest = $2`);
const removeByGrant = statement("auth.openid.remove_grant", `DELETE FROM auth.openid_record WHERE grant_id = $1`);
const removeBySession = statement(
  "auth.openid.remove_session",
  `DELETE FROM auth.openid_record WHERE session_id = ANY ($1::uuid[])`,
);
const purge = statement(
  "auth.openid.purge",
  `DELETE FROM auth.openid_record WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM auth.openid_record WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);
const insertOrganisation = statement(
  "auth.grant_organisation.insert",
  `INSERT INTO auth.grant_organisation (grant_id, organisation_id, expires_at_ms) VALUES ($1, $2, $3)`,
);
const findOrganisation = statement(
  "auth.grant_organisation.find",
  `SELECT organisation_id FROM auth.grant_organisation WHERE grant_id = $1`,
);
const purgeOrganisations = statement(
  "auth.grant_organisation.purge",
  `DELETE FROM auth.grant_organisation WHERE grant_id = ANY (ARRAY(
     SELECT grant_id FROM auth.grant_organisation WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

export async function putRecord(db: Queryable, record: Omit<OpenidRecord, "consumed">): Promise<void> {
  const { model, digest, uid, grantId, sessionId, sealed, expiresAtMs } = record;
  await db.query(upsert(model, digest, uid, grantId, sessionId, sealed, expiresAtMs));
}

export async function findRecord(
  db: Queryable,
  model: string,
  digest: Buffer,
  nowMs: number,
): Promise<Row | undefined> {
  return (await db.query<Row>(find(model, digest, nowMs))).rows[0];
}

export async function findRecordByUid(
  db: Queryable,
  model: string,
  uid: string,
  nowMs: number,
): Promise<Row | undefined> {
  return (await db.query<Row>(findByUid(model, uid, nowMs))).rows[0];
}

/** Marks a code or refresh token as used. Of several at once exactly one gets true. */
export async function consumeRecord(db: Queryable, model: string, digest: Buffer): Promise<boolean> {
  return (await db.query(consume(model, digest))).rowCount === 1;
}

export async function removeRecord(db: Queryable, model: string, digest: Buffer): Promise<void> {
  await db.query(remove(model, digest));
}

export async function removeGrantRecords(db: Queryable, grantId: string): Promise<void> {
  await db.query(removeByGrant(grantId));
}

/** Removes codes, refresh tokens, grants and cookies' records of sessions that end. */
export async function removeSessionRecords(tx: Transaction, sessionIds: readonly string[]): Promise<void> {
  await tx.query(removeBySession(sessionIds));
}

export async function putGrantOrganisation(
  db: Queryable,
  grantId: string,
  organisationId: string,
  expiresAtMs: number,
): Promise<void> {
  await db.query(insertOrganisation(grantId, organisationId, expiresAtMs));
}

export async function findGrantOrganisation(db: Queryable, grantId: string): Promise<string | undefined> {
  return (await db.query<{ organisation_id: string }>(findOrganisation(grantId))).rows[0]?.organisation_id;
}

/** Removes at most `batchMax` records whose time is over; returns how many. */
export async function purgeRecords(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purge(nowMs, batchMax))).rowCount;
}

export async function purgeGrantOrganisations(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeOrganisations(nowMs, batchMax))).rowCount;
}
