import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Caps, type ClaimPolicy, ClaimPolicySchema } from "@fujie/api/fujie/trust/v1/policy";
import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { Span } from "./rules.ts";

const insertRow = statement(
  "claim-policy.propose",
  `INSERT INTO claim_policy (policy_id, claim_type, content, start_at, end_at, state, proposed_by)
   VALUES ($1, $2, $3, $4, $5, 'PROPOSED', $6) ON CONFLICT DO NOTHING`,
);
const COLUMNS = `policy_id AS "policyId", content, end_at AS "endAt", state, proposed_by AS "proposedBy"`;
const lockRow = statement("claim-policy.lock", `SELECT ${COLUMNS} FROM claim_policy WHERE policy_id = $1 FOR UPDATE`);
// One decision at a time: what a policy has to follow must not change under it.
const lockAll = statement("claim-policy.lock-all", `SELECT pg_advisory_xact_lock(hashtext('claim_policy'))`);
const selectLast = statement(
  "claim-policy.last",
  `SELECT policy_id AS "policyId", start_at AS start, end_at AS "end" FROM claim_policy
   WHERE claim_type = $1 AND state = 'APPROVED' ORDER BY start_at DESC LIMIT 1`,
);
const endRow = statement("claim-policy.end", `UPDATE claim_policy SET end_at = $2 WHERE policy_id = $1`);
const decideRow = statement(
  "claim-policy.decide",
  `UPDATE claim_policy SET state = $2, decided_by = $3 WHERE policy_id = $1`,
);
const selectPage = statement(
  "claim-policy.page",
  `SELECT ${COLUMNS} FROM claim_policy WHERE policy_id > $1 AND state <> 'REFUSED' ORDER BY policy_id LIMIT $2`,
);
// What was asked under an older one is judged by it still, for as long as anything can be pending.
const selectPushed = statement(
  "claim-policy.pushed",
  `SELECT ${COLUMNS} FROM claim_policy WHERE state = 'APPROVED' AND (end_at IS NULL OR end_at > $1)
   ORDER BY claim_type, start_at LIMIT 1000`,
);
const putCaps = statement(
  "caps.put",
  `INSERT INTO caps (per_identifier_per_day, per_network_per_minute) VALUES ($1, $2)
   ON CONFLICT (only_one) DO UPDATE SET per_identifier_per_day = excluded.per_identifier_per_day,
     per_network_per_minute = excluded.per_network_per_minute`,
);
const selectCaps = statement(
  "caps.get",
  `SELECT per_identifier_per_day::float8 AS "perIdentifierPerDay",
     per_network_per_minute::float8 AS "perNetworkPerMinute" FROM caps`,
);

interface Row extends Record<"policyId" | "proposedBy", string> {
  content: Buffer;
  endAt: Date | null;
  state: "PROPOSED" | "APPROVED" | "REFUSED";
}

export interface KeptPolicy {
  readonly policy: ClaimPolicy;
  readonly state: Row["state"];
  readonly proposedBy: string;
}

function read({ content, endAt, state, proposedBy }: Row): KeptPolicy {
  const policy = fromBinary(ClaimPolicySchema, content);
  if (endAt !== null) policy.endTime = timestampFromDate(endAt);
  return { policy, state, proposedBy };
}

/** False when there is a policy of this id. */
export async function insertPolicy(
  tx: Transaction,
  policy: ClaimPolicy,
  { start, end }: Span,
  proposedBy: string,
): Promise<boolean> {
  const { endTime: _, ...endless } = policy;
  const content = Buffer.from(toBinary(ClaimPolicySchema, create(ClaimPolicySchema, endless)));
  const { policyId, claimType } = policy;
  return (await tx.query(insertRow(policyId, claimType, content, start, end, proposedBy))).rowCount === 1;
}

/** The policy, with all decisions about policies held back until the end of the transaction. */
export async function lockPolicy(tx: Transaction, policyId: string): Promise<KeptPolicy | undefined> {
  await tx.query(lockAll());
  const [row] = (await tx.query<{ [K in keyof Row]: Row[K] }>(lockRow(policyId))).rows;
  return row && read(row);
}

/** The latest approved policy of the type. */
export async function findLast(
  tx: Transaction,
  claimType: number,
): Promise<(Span & { readonly policyId: string }) | undefined> {
  return (await tx.query<{ policyId: string; start: Date; end: Date | null }>(selectLast(claimType))).rows[0];
}

export async function endPolicy(tx: Transaction, policyId: string, end: Date): Promise<void> {
  await tx.query(endRow(policyId, end));
}

export async function decidePolicy(
  tx: Transaction,
  policyId: string,
  state: "APPROVED" | "REFUSED",
  decidedBy: string,
): Promise<void> {
  await tx.query(decideRow(policyId, state, decidedBy));
}

/** In the order of ids, after the given one; without refused ones. */
export async function pagePolicies(db: Queryable, after: string, limit: number): Promise<KeptPolicy[]> {
  return (await db.query<{ [K in keyof Row]: Row[K] }>(selectPage(after, limit))).rows.map(read);
}

/** Approved policies that did not end before the time. */
export async function readApproved(db: Queryable, endedBefore: Date): Promise<ClaimPolicy[]> {
  const { rows } = await db.query<{ [K in keyof Row]: Row[K] }>(selectPushed(endedBefore));
  return rows.map((row) => read(row).policy);
}

type CapsRow = Pick<Caps, "perIdentifierPerDay" | "perNetworkPerMinute">;

export async function setCaps(tx: Transaction, caps: CapsRow): Promise<void> {
  await tx.query(putCaps(caps.perIdentifierPerDay, caps.perNetworkPerMinute));
}

export async function readCaps(db: Queryable): Promise<CapsRow | undefined> {
  return (await db.query<{ [K in keyof CapsRow]: CapsRow[K] }>(selectCaps())).rows[0];
}
