import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { SignedDecision } from "./rules.ts";

export interface DecisionRecord extends SignedDecision {
  readonly operatorId: string;
  /** The signed bytes, the signature and the certificates, sealed under the subject's key. */
  readonly proofSealed: Buffer;
}

const insertRow = statement(
  "counter-decision.insert",
  `INSERT INTO counter_decision (registration_id, operator_id, decision, decided_at, document_ids, proof_sealed)
   VALUES ($1, $2, $3, $4, $5, $6)`,
);

const findByRegistration = statement(
  "counter-decision.find",
  `SELECT operator_id AS "operatorId", decision, decided_at AS "decidedAt" FROM counter_decision
   WHERE registration_id = $1`,
);

/** Who decided what about the registration; undefined before anybody did. */
export async function findDecision(
  db: Queryable,
  registrationId: string,
): Promise<Pick<DecisionRecord, "operatorId" | "decision" | "decidedAt"> | undefined> {
  const found = findByRegistration(registrationId);
  return (await db.query<Pick<DecisionRecord, "operatorId" | "decision" | "decidedAt">>(found)).rows[0];
}

export async function insertDecision(tx: Transaction, record: DecisionRecord): Promise<void> {
  const { registrationId, operatorId, decision, decidedAt, documentIds, proofSealed } = record;
  await tx.query(insertRow(registrationId, operatorId, decision, decidedAt, documentIds, proofSealed));
}
