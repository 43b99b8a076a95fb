import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { AcceptedTerms } from "../registrations/acceptance.ts";

export type OrganisationStateName = "PENDING" | "ACTIVE" | "REJECTED" | "SUSPENDED" | "CANCELLED";
/** Whether the registrar is its legal representative; if not, whether it exists at all under this name. */
export type QuestionName = "REPRESENTATIVE" | "EXISTENCE";

export interface Organisation {
  readonly organisationId: string;
  readonly state: OrganisationStateName;
  readonly question: QuestionName;
  /** The account that registered it. */
  readonly registeredBy: string;
}

type Row = { [K in keyof Organisation]: Organisation[K] };

const COLUMNS = `o.organisation_id AS "organisationId", o.state, o.question, o.registered_by AS "registeredBy"`;

const insertRow = statement(
  "organisation.insert",
  `INSERT INTO organisation (organisation_id, state, question, registered_by, certificate_ca, certificate_sha256,
     agreement_version, agreement_sha256, notice_version, accepted_at, created_at, ask_at)
   VALUES ($1, 'PENDING', 'REPRESENTATIVE', $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
);
const selectRow = statement("organisation.find", `SELECT ${COLUMNS} FROM organisation o WHERE o.organisation_id = $1`);
const lockRow = statement(
  "organisation.lock",
  `SELECT ${COLUMNS} FROM organisation o WHERE o.organisation_id = $1 FOR UPDATE`,
);
const updateState = statement(
  "organisation.set-state",
  `UPDATE organisation SET state = $2, ask_at = NULL WHERE organisation_id = $1`,
);
const updateQuestion = statement(
  "organisation.ask-existence",
  `UPDATE organisation SET question = 'EXISTENCE', ask_at = $2, ask_attempts = 0 WHERE organisation_id = $1`,
);
const clearAsk = statement(
  "organisation.taken",
  `UPDATE organisation SET ask_at = NULL WHERE organisation_id = $1 AND state = 'PENDING' AND question = $2`,
);
const askAll = statement(
  "organisation.ask-all",
  `UPDATE organisation SET ask_at = $1 WHERE state = 'PENDING' AND ask_at IS NULL`,
);
const claimToAsk = statement(
  "organisation.claim-to-ask",
  `UPDATE organisation o SET ask_attempts = o.ask_attempts + 1,
     ask_at = $1::timestamptz + least(interval '5 minutes', interval '15 seconds' * power(2, least(o.ask_attempts, 10)))
   FROM (SELECT organisation_id FROM organisation WHERE ask_at <= $1 ORDER BY ask_at LIMIT $2 FOR UPDATE SKIP LOCKED) d
   WHERE o.organisation_id = d.organisation_id AND o.state = 'PENDING' RETURNING ${COLUMNS}`,
);

export interface NewOrganisation extends AcceptedTerms {
  readonly organisationId: string;
  readonly registeredBy: string;
  readonly certificateCa: string;
  readonly certificateSha256: Uint8Array;
  readonly createdAt: Date;
  /** When the sweeper asks the gateway, should the first question be lost. */
  readonly askAt: Date;
}

export async function insertOrganisation(tx: Transaction, organisation: NewOrganisation): Promise<void> {
  const { organisationId, registeredBy, certificateCa, certificateSha256, createdAt, askAt } = organisation;
  const { agreementVersion, agreementSha256, noticeVersion, acceptedAt } = organisation;
  const who = [organisationId, registeredBy, certificateCa, Buffer.from(certificateSha256)];
  const terms = [agreementVersion, Buffer.from(agreementSha256), noticeVersion, acceptedAt];
  await tx.query(insertRow(...who, ...terms, createdAt, askAt));
}

export async function findOrganisation(db: Queryable, organisationId: string): Promise<Organisation | undefined> {
  return (await db.query<Row>(selectRow(organisationId))).rows[0];
}

export async function lockOrganisation(tx: Transaction, organisationId: string): Promise<Organisation | undefined> {
  return (await tx.query<Row>(lockRow(organisationId))).rows[0];
}

/** Nobody needs asking any more. */
export async function setOrganisationState(
  tx: Transaction,
  organisationId: string,
  state: OrganisationStateName,
): Promise<void> {
  await tx.query(updateState(organisationId, state));
}

/** The registrar is not its representative: the base is asked next whether it exists. */
export async function askExistence(tx: Transaction, organisationId: string, now: Date): Promise<void> {
  await tx.query(updateQuestion(organisationId, now));
}

/** The gateway has taken this question: the answer comes by the feed. */
export async function markQuestionTaken(db: Queryable, organisationId: string, question: QuestionName): Promise<void> {
  await db.query(clearAsk(organisationId, question));
}

export async function claimOrganisationsToAsk(db: Queryable, now: Date, limit: number): Promise<Organisation[]> {
  return (await db.query<Row>(claimToAsk(now, limit))).rows;
}

/** Has everything that waits for an answer asked about again. */
export async function askAboutAllOrganisations(tx: Transaction, now: Date): Promise<void> {
  await tx.query(askAll(now));
}
