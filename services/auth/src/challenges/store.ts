import { type Database, type Queryable, statement } from "@fujie/kit/db";
import type { Challenge } from "./rules.ts";

type Row = { challenge_id: string; interaction: string; message: Buffer; expires_at_ms: number };

const insert = statement(
  "auth.challenge.insert",
  `INSERT INTO auth.challenge (challenge_id, interaction, message, expires_at_ms) VALUES ($1, $2, $3, $4)`,
);
const findOpen = statement(
  "auth.challenge.find",
  `SELECT challenge_id, interaction, message, expires_at_ms::float8 FROM auth.challenge c
   WHERE interaction = $1 AND expires_at_ms > $2
     AND NOT EXISTS (SELECT FROM auth.challenge_use u WHERE u.challenge_id = c.challenge_id)
   ORDER BY expires_at_ms DESC LIMIT 1`,
);
const use = statement(
  "auth.challenge.use",
  `INSERT INTO auth.challenge_use (challenge_id, expires_at_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
);
const purge = statement(
  "auth.challenge.purge",
  `DELETE FROM auth.challenge WHERE challenge_id = ANY (ARRAY(
     SELECT challenge_id FROM auth.challenge WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);
const purgeUses = statement(
  "auth.challenge_use.purge",
  `DELETE FROM auth.challenge_use WHERE challenge_id = ANY (ARRAY(
     SELECT challenge_id FROM auth.challenge_use WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

export async function insertChallenge(db: Queryable, challenge: Challenge): Promise<void> {
  await db.query(insert(challenge.id, challenge.interaction, challenge.message, challenge.expiresAtMs));
}

/** The interaction's newest challenge that is neither used nor over at `afterMs`. */
export async function findOpenChallenge(
  db: Queryable,
  interaction: string,
  afterMs: number,
): Promise<Challenge | undefined> {
  const row = (await db.query<Row>(findOpen(interaction, afterMs))).rows[0];
  if (row === undefined) return undefined;
  const { challenge_id, message, expires_at_ms } = row;
  return { id: challenge_id, interaction: row.interaction, message, expiresAtMs: expires_at_ms };
}

/** Uses the challenge up. Of any number at once, on any replica, exactly one gets true: the insert is unique. */
export async function useChallenge(db: Queryable, { id, expiresAtMs }: Challenge): Promise<boolean> {
  return (await db.query(use(id, expiresAtMs))).rowCount === 1;
}

/** Removes at most `batchMax` challenges that are over; returns how many. */
export async function purgeChallenges(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purge(nowMs, batchMax))).rowCount;
}

/** Removes at most `batchMax` notes of use whose challenge is over; returns how many. */
export async function purgeChallengeUses(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeUses(nowMs, batchMax))).rowCount;
}
