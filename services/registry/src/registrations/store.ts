import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { VersionedDigest } from "@fujie/kit/keys";
import { columnsOf } from "../subjects/store.ts";
import type { AcceptedTerms } from "./acceptance.ts";
import type { RegistrationStateName } from "./rules.ts";

export interface Registration {
  readonly registrationId: string;
  readonly accountId: string;
  readonly applicationId: string;
  /** Subject of the token under which it came. */
  readonly enteredBy: string;
  readonly state: RegistrationStateName;
  readonly createdAt: Date;
  readonly expireAt: Date;
}

type Row = { [K in keyof Registration]: Registration[K] };

const COLUMNS = `r.registration_id AS "registrationId", r.account_id AS "accountId",
  r.application_id AS "applicationId", r.entered_by AS "enteredBy", r.state, r.created_at AS "createdAt",
  r.expire_at AS "expireAt"`;
const OPEN = `r.state IN ('SUBMITTED', 'VERIFIED')`;

const insertRow = statement(
  "registration.insert",
  `INSERT INTO registration (registration_id, account_id, application_id, entered_by, state, agreement_version,
     agreement_sha256, notice_version, accepted_at, created_at, expire_at, ask_at)
   VALUES ($1, $2, $3, $4, 'SUBMITTED', $5, $6, $7, $8, $9, $10, $11)`,
);
const insertDigests = statement(
  "registration.insert-digests",
  `INSERT INTO registration_digest (version, digest, registration_id)
   SELECT version, digest, $3 FROM unnest($1::integer[], $2::bytea[]) AS d (version, digest)`,
);
const selectRow = statement("registration.find", `SELECT ${COLUMNS} FROM registration r WHERE r.registration_id = $1`);
const lockRow = statement(
  "registration.lock",
  `SELECT ${COLUMNS} FROM registration r WHERE r.registration_id = $1 FOR UPDATE`,
);
const lockOfAccount = statement(
  "registration.lock-of-account",
  `SELECT ${COLUMNS} FROM registration r WHERE r.account_id = $1 FOR UPDATE`,
);
const selectByDigests = statement(
  "registration.by-digest",
  `SELECT ${COLUMNS} FROM registration r
   WHERE ${OPEN} AND r.expire_at > $3 AND r.registration_id IN (
     SELECT registration_id FROM registration_digest
     WHERE (version, digest) IN (SELECT * FROM unnest($1::integer[], $2::bytea[])))
   ORDER BY r.registration_id DESC LIMIT $4`,
);
const selectDigests = statement(
  "registration.digests",
  `SELECT version, digest FROM registration_digest WHERE registration_id = $1 ORDER BY version DESC`,
);
const deleteDigests = statement(
  "registration.delete-digests",
  `DELETE FROM registration_digest WHERE registration_id = $1`,
);
const updateState = statement(
  "registration.set-state",
  `UPDATE registration SET state = $2, ask_at = NULL WHERE registration_id = $1`,
);
const clearAsk = statement(
  "registration.taken",
  `UPDATE registration SET ask_at = NULL WHERE registration_id = $1 AND state = 'SUBMITTED'`,
);
const askAll = statement(
  "registration.ask-all",
  `UPDATE registration SET ask_at = $1 WHERE state = 'SUBMITTED' AND ask_at IS NULL`,
);
const claimToAsk = statement(
  "registration.claim-to-ask",
  `UPDATE registration r SET ask_attempts = r.ask_attempts + 1,
     ask_at = $1::timestamptz + least(interval '5 minutes', interval '15 seconds' * power(2, least(r.ask_attempts, 10)))
   FROM (SELECT registration_id FROM registration WHERE ask_at <= $1 ORDER BY ask_at LIMIT $2 FOR UPDATE SKIP LOCKED) d
   WHERE r.registration_id = d.registration_id AND r.state = 'SUBMITTED' RETURNING ${COLUMNS}`,
);
const lockExpired = statement(
  "registration.lock-expired",
  `SELECT ${COLUMNS} FROM registration r WHERE ${OPEN} AND r.expire_at <= $1
   ORDER BY r.expire_at LIMIT $2 FOR UPDATE SKIP LOCKED`,
);

export interface NewRegistration extends Omit<Registration, "state">, AcceptedTerms {
  /** When the sweeper asks the gateway, should the first question be lost. */
  readonly askAt: Date;
}

export async function insertRegistration(
  tx: Transaction,
  registration: NewRegistration,
  digests: readonly VersionedDigest[],
): Promise<void> {
  const { registrationId, accountId, applicationId, enteredBy, createdAt, expireAt, askAt } = registration;
  const { agreementVersion, agreementSha256, noticeVersion, acceptedAt } = registration;
  const who = [registrationId, accountId, applicationId, enteredBy];
  const what = [agreementVersion, Buffer.from(agreementSha256), noticeVersion, acceptedAt];
  await tx.query(insertRow(...who, ...what, createdAt, expireAt, askAt));
  await tx.query(insertDigests(...columnsOf(digests), registrationId));
}

export async function findRegistration(db: Queryable, registrationId: string): Promise<Registration | undefined> {
  return (await db.query<Row>(selectRow(registrationId))).rows[0];
}

/** Holds the registration until the transaction ends: of two decisions one waits for the other. */
export async function lockRegistration(tx: Transaction, registrationId: string): Promise<Registration | undefined> {
  return (await tx.query<Row>(lockRow(registrationId))).rows[0];
}

export async function lockRegistrationOf(tx: Transaction, accountId: string): Promise<Registration | undefined> {
  return (await tx.query<Row>(lockOfAccount(accountId))).rows[0];
}

/** The newest open registrations under an identifier: those who flood it push out themselves, not the last comer. */
export async function findOpenRegistrations(
  db: Queryable,
  digests: readonly VersionedDigest[],
  now: Date,
  limit: number,
): Promise<Registration[]> {
  return (await db.query<Row>(selectByDigests(...columnsOf(digests), now, limit))).rows;
}

/** The digests of its identifier; none once it has ended. */
export async function findRegistrationDigests(db: Queryable, registrationId: string): Promise<VersionedDigest[]> {
  return (await db.query<{ version: number; digest: Buffer }>(selectDigests(registrationId))).rows;
}

/** Sets the state; nobody needs asking any more. */
export async function setRegistrationState(
  tx: Transaction,
  registrationId: string,
  state: RegistrationStateName,
): Promise<void> {
  await tx.query(updateState(registrationId, state));
  if (state !== "VERIFIED") await tx.query(deleteDigests(registrationId));
  tx.announce(registrationSubject(registrationId));
}

/** The gateway has taken the question: the answer comes by the feed. */
export async function markTaken(db: Queryable, registrationId: string): Promise<void> {
  await db.query(clearAsk(registrationId));
}

/** Takes registrations that still have to be asked about, each for a while of growing length. */
export async function claimRegistrationsToAsk(db: Queryable, now: Date, limit: number): Promise<Registration[]> {
  return (await db.query<Row>(claimToAsk(now, limit))).rows;
}

export async function lockExpiredRegistrations(tx: Transaction, now: Date, limit: number): Promise<Registration[]> {
  return (await tx.query<Row>(lockExpired(now, limit))).rows;
}

/** What is announced in this process when the registration changes. */
export function registrationSubject(registrationId: string): string {
  return `registration:${registrationId}`;
}

/** Has everything that waits for an answer asked about again. */
export async function askAboutAllRegistrations(tx: Transaction, now: Date): Promise<void> {
  await tx.query(askAll(now));
}
