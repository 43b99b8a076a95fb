import { type Queryable, statement, type Transaction } from "@fujie/kit/db";

/** A rule has exactly one target. */
export interface BlockRule {
  readonly ruleId: string;
  readonly applicationId: string | null;
  readonly network: string | null;
  readonly identifierHmac: Buffer | null;
  readonly hmacKeyVersion: number | null;
  readonly claimType: number | null;
  readonly reasonCode: string;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expireAt: Date | null;
}

type Row = { [K in keyof BlockRule]: BlockRule[K] };

const COLUMNS = `rule_id AS "ruleId", application_id AS "applicationId", network, identifier_hmac AS "identifierHmac",
  hmac_key_version AS "hmacKeyVersion", claim_type AS "claimType", reason_code AS "reasonCode",
  created_by AS "createdBy", created_at AS "createdAt", expire_at AS "expireAt"`;

// The lock makes the count true for whoever inserts at the same time.
const lockRules = statement("block.lock", `SELECT pg_advisory_xact_lock(hashtext('block_rule'))`);
const insertRow = statement(
  "block.insert",
  `INSERT INTO block_rule (rule_id, application_id, network, identifier_hmac, hmac_key_version, claim_type,
     reason_code, created_by, created_at, expire_at)
   SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE (SELECT count(*) FROM block_rule) < $11`,
);
const deleteRow = statement("block.delete", `DELETE FROM block_rule WHERE rule_id = $1`);
const selectPage = statement(
  "block.page",
  `SELECT ${COLUMNS} FROM block_rule WHERE rule_id > $1 AND (expire_at IS NULL OR expire_at > $2)
   ORDER BY rule_id LIMIT $3`,
);
const purgeRows = statement(
  "block.purge",
  `DELETE FROM block_rule WHERE ctid = ANY (ARRAY(SELECT ctid FROM block_rule WHERE expire_at <= $1 LIMIT $2))`,
);

/** False when there are `rulesMax` already. */
export async function insertBlock(tx: Transaction, rule: BlockRule, rulesMax: number): Promise<boolean> {
  await tx.query(lockRules());
  const { ruleId, applicationId, network, identifierHmac, hmacKeyVersion, claimType } = rule;
  const target = [applicationId, network, identifierHmac, hmacKeyVersion, claimType];
  const about = [rule.reasonCode, rule.createdBy, rule.createdAt, rule.expireAt];
  return (await tx.query(insertRow(ruleId, ...target, ...about, rulesMax))).rowCount === 1;
}

/** False when there is no such rule. */
export async function deleteBlock(tx: Transaction, ruleId: string): Promise<boolean> {
  return (await tx.query(deleteRow(ruleId))).rowCount === 1;
}

/** Rules in force, in the order of ids, after the given one. */
export async function pageBlocks(db: Queryable, after: string, now: Date, limit: number): Promise<BlockRule[]> {
  return (await db.query<Row>(selectPage(after, now, limit))).rows;
}

export async function purgeBlocks(db: Queryable, now: Date, batchMax: number): Promise<number> {
  return (await db.query(purgeRows(now, batchMax))).rowCount;
}
