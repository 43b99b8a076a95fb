import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { ChallengeBinding } from "./rules.ts";

export interface Challenge extends ChallengeBinding {
  readonly challengeId: string;
  readonly message: Uint8Array;
  readonly expireAt: Date;
}

const BOUND = `challenge_id = $1 AND purpose = $2 AND subject = $3 AND session = $4 AND expire_at > $5`;

const insertChallengeRow = statement(
  "challenge.insert",
  `INSERT INTO challenge (challenge_id, purpose, subject, session, expire_at, message) VALUES ($1, $2, $3, $4, $5, $6)`,
);
const selectMessage = statement("challenge.find", `SELECT message FROM challenge WHERE ${BOUND}`);
const deleteBound = statement("challenge.take", `DELETE FROM challenge WHERE ${BOUND}`);
const purgeExpired = statement(
  "challenge.purge",
  `DELETE FROM challenge WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM challenge WHERE expire_at <= $1 ORDER BY expire_at LIMIT $2))`,
);

export async function insertChallenge(db: Queryable, challenge: Challenge): Promise<void> {
  const { challengeId, purpose, subject, session, expireAt, message } = challenge;
  await db.query(insertChallengeRow(challengeId, purpose, subject, session, expireAt, Buffer.from(message)));
}

/** The message of a living challenge that was made for exactly this binding. It is not used up yet. */
export async function findChallenge(
  db: Queryable,
  challengeId: string,
  { purpose, subject, session }: ChallengeBinding,
  now: Date,
): Promise<Uint8Array | undefined> {
  const { rows } = await db.query<{ message: Buffer }>(selectMessage(challengeId, purpose, subject, session, now));
  return rows[0]?.message;
}

/** Uses the challenge up. True for one taker only, whoever comes at once. */
export async function takeChallenge(
  tx: Transaction,
  challengeId: string,
  { purpose, subject, session }: ChallengeBinding,
  now: Date,
): Promise<boolean> {
  return (await tx.query(deleteBound(challengeId, purpose, subject, session, now))).rowCount === 1;
}

export async function purgeChallenges(db: Database, now: Date, batchMax: number): Promise<number> {
  return (await db.query(purgeExpired(now, batchMax))).rowCount;
}
