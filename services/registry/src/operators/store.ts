import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { VersionedDigest } from "@fujie/kit/keys";
import { columnsOf } from "../subjects/store.ts";
import type { OperatorRoleName } from "./rules.ts";

export interface Operator {
  readonly operatorId: string;
  readonly role: OperatorRoleName;
  /** The CA of the certificate that he is bound to. */
  readonly caId: string;
  readonly reviewedUntil: Date;
  /** When a vendor's engagement ends, and the rights with it; null: the platform's own staff. */
  readonly engagementEnd: Date | null;
}

type Row = { [K in keyof Operator]: Operator[K] };

const COLUMNS = `o.operator_id AS "operatorId", o.role, o.ca_id AS "caId", o.reviewed_until AS "reviewedUntil",
  o.engagement_end AS "engagementEnd"`;

const insertRow = statement(
  "operator.insert",
  `INSERT INTO operator (operator_id, role, ca_id, reviewed_until, engagement_end, created_at)
   VALUES ($1, $2, $3, $4, $5, $6)`,
);
const updateRow = statement(
  "operator.renew",
  `UPDATE operator SET role = $2, ca_id = $3, reviewed_until = $4, engagement_end = $5 WHERE operator_id = $1`,
);
const insertDigests = statement(
  "operator.insert-digests",
  `INSERT INTO operator_digest (version, digest, operator_id)
   SELECT version, digest, $3 FROM unnest($1::integer[], $2::bytea[]) AS d (version, digest)
   ON CONFLICT (version, digest) DO NOTHING`,
);
const selectRow = statement("operator.find", `SELECT ${COLUMNS} FROM operator o WHERE o.operator_id = $1`);
const selectByDigests = statement(
  "operator.by-digest",
  `SELECT ${COLUMNS} FROM operator o WHERE o.operator_id = (
     SELECT operator_id FROM operator_digest
     WHERE (version, digest) IN (SELECT * FROM unnest($1::integer[], $2::bytea[])) LIMIT 1)`,
);
const selectDigests = statement(
  "operator.digests",
  `SELECT version, digest FROM operator_digest WHERE operator_id = $1 ORDER BY version DESC`,
);
const selectPage = statement(
  "operator.page",
  `SELECT ${COLUMNS} FROM operator o WHERE o.operator_id > $1 ORDER BY o.operator_id LIMIT $2`,
);
const selectAny = statement("operator.any", `SELECT EXISTS (SELECT FROM operator) AS found`);

const PROPOSAL_COLUMNS = `proposal_id AS "proposalId", role, ca_id AS "caId", versions, digests, state,
  proposed_by AS "proposedBy", expire_at AS "expireAt", engagement_end AS "engagementEnd"`;
const insertProposalRow = statement(
  "proposal.insert",
  `INSERT INTO operator_proposal
     (proposal_id, role, ca_id, versions, digests, state, proposed_by, expire_at, engagement_end)
   VALUES ($1, $2, $3, $4, $5, 'OPEN', $6, $7, $8)`,
);
const lockProposalRow = statement(
  "proposal.lock",
  `SELECT ${PROPOSAL_COLUMNS} FROM operator_proposal WHERE proposal_id = $1 FOR UPDATE`,
);
const closeProposalRow = statement(
  "proposal.close",
  `UPDATE operator_proposal SET state = $2, decided_by = $3 WHERE proposal_id = $1`,
);
const purgeProposalRows = statement(
  "proposal.purge",
  `DELETE FROM operator_proposal WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM operator_proposal WHERE state = 'OPEN' AND expire_at <= $1 LIMIT $2))`,
);

const writeCode = statement(
  "ceremony.offer",
  `INSERT INTO ceremony AS c (code_digest, expire_at) VALUES ($1, $2)
   ON CONFLICT (only_one) DO UPDATE SET code_digest = excluded.code_digest, expire_at = excluded.expire_at
   WHERE c.completed_at IS NULL`,
);
const selectCeremony = statement(
  "ceremony.find",
  `SELECT code_digest AS "codeDigest", expire_at AS "expireAt", completed_at AS "completedAt" FROM ceremony`,
);
const completeRow = statement(
  "ceremony.complete",
  `UPDATE ceremony SET completed_at = $1 WHERE completed_at IS NULL AND expire_at > $1 AND code_digest = $2`,
);

export async function insertOperator(
  tx: Transaction,
  operator: Operator & { readonly createdAt: Date },
  digests: readonly VersionedDigest[],
): Promise<boolean> {
  const { operatorId, role, caId, reviewedUntil, engagementEnd, createdAt } = operator;
  await tx.query(insertRow(operatorId, role, caId, reviewedUntil, engagementEnd, createdAt));
  return (await tx.query(insertDigests(...columnsOf(digests), operatorId))).rowCount === digests.length;
}

export async function renewOperator(tx: Transaction, operator: Operator): Promise<void> {
  const { operatorId, role, caId, reviewedUntil, engagementEnd } = operator;
  await tx.query(updateRow(operatorId, role, caId, reviewedUntil, engagementEnd));
}

export async function findOperator(db: Queryable, operatorId: string): Promise<Operator | undefined> {
  return (await db.query<Row>(selectRow(operatorId))).rows[0];
}

export async function findOperatorByDigest(
  db: Queryable,
  digests: readonly VersionedDigest[],
): Promise<Operator | undefined> {
  return (await db.query<Row>(selectByDigests(...columnsOf(digests)))).rows[0];
}

/** The digests of the operator's own citizen id. */
export async function findOperatorDigests(db: Queryable, operatorId: string): Promise<VersionedDigest[]> {
  return (await db.query<{ version: number; digest: Buffer }>(selectDigests(operatorId))).rows;
}

/** In the order of ids, after the given one. */
export async function pageOperators(db: Queryable, after: string, limit: number): Promise<Operator[]> {
  return (await db.query<Row>(selectPage(after, limit))).rows;
}

export async function hasOperators(db: Queryable): Promise<boolean> {
  return (await db.query<{ found: boolean }>(selectAny())).rows[0]?.found === true;
}

export interface Proposal {
  readonly proposalId: string;
  readonly role: OperatorRoleName;
  readonly caId: string;
  /** Of the proposed person's citizen id. */
  readonly digests: readonly VersionedDigest[];
  readonly state: "OPEN" | "APPROVED" | "REFUSED";
  readonly proposedBy: string;
  readonly expireAt: Date;
  readonly engagementEnd: Date | null;
}

interface ProposalRow
  extends Record<keyof Omit<Proposal, "role" | "state" | "expireAt" | "engagementEnd" | "digests">, string> {
  engagementEnd: Date | null;
  role: OperatorRoleName;
  state: Proposal["state"];
  expireAt: Date;
  versions: number[];
  digests: Buffer[];
}

export async function insertProposal(tx: Transaction, proposal: Omit<Proposal, "state">): Promise<void> {
  const { proposalId, role, caId, digests, proposedBy, expireAt, engagementEnd } = proposal;
  await tx.query(insertProposalRow(proposalId, role, caId, ...columnsOf(digests), proposedBy, expireAt, engagementEnd));
}

export async function lockProposal(tx: Transaction, proposalId: string): Promise<Proposal | undefined> {
  const [row] = (await tx.query<{ [K in keyof ProposalRow]: ProposalRow[K] }>(lockProposalRow(proposalId))).rows;
  if (row === undefined) return undefined;
  const { versions, digests, ...rest } = row;
  return { ...rest, digests: digests.map((digest, i) => ({ version: versions[i] ?? 0, digest })) };
}

export async function closeProposal(
  tx: Transaction,
  proposalId: string,
  state: "APPROVED" | "REFUSED",
  decidedBy: string,
): Promise<void> {
  await tx.query(closeProposalRow(proposalId, state, decidedBy));
}

export async function purgeProposals(db: Queryable, now: Date, batchMax: number): Promise<number> {
  return (await db.query(purgeProposalRows(now, batchMax))).rowCount;
}

interface CeremonyRow {
  codeDigest: Buffer;
  expireAt: Date;
  completedAt: Date | null;
}

/** The one ceremony that there is, if any was offered yet. */
export async function findCeremony(db: Queryable): Promise<CeremonyRow | undefined> {
  return (await db.query<{ [K in keyof CeremonyRow]: CeremonyRow[K] }>(selectCeremony())).rows[0];
}

/** Offers the ceremony under a fresh code. False when it has run. */
export async function writeCeremonyCode(db: Queryable, codeDigest: Buffer, expireAt: Date): Promise<boolean> {
  return (await db.query(writeCode(codeDigest, expireAt))).rowCount === 1;
}

/** Closes the ceremony for good. False when it is closed, its code is over, or another code was offered since. */
export async function completeCeremony(tx: Transaction, codeDigest: Buffer, now: Date): Promise<boolean> {
  return (await tx.query(completeRow(now, codeDigest))).rowCount === 1;
}
