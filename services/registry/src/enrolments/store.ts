import { type Database, statement, type Transaction } from "@fujie/kit/db";
import type { VersionedDigest } from "@fujie/kit/keys";
import { columnsOf } from "../subjects/store.ts";
import type { EnrolmentHolder } from "./rules.ts";

const insertEnrolmentRow = statement(
  "enrolment.insert",
  `INSERT INTO enrolment (version, digest, holder_kind, holder_id, expire_at) VALUES ($1, $2, $3, $4, $5)`,
);
const deleteOfHolder = statement("enrolment.void", `DELETE FROM enrolment WHERE holder_kind = $1 AND holder_id = $2`);
const takeByDigest = statement(
  "enrolment.take",
  `UPDATE enrolment SET redeemed_by = $4
   WHERE (version, digest) IN (SELECT * FROM unnest($1::integer[], $2::bytea[])) AND expire_at > $3
     AND (redeemed_by IS NULL OR redeemed_by = $4)
   RETURNING holder_kind AS kind, holder_id AS id`,
);
const purgeExpired = statement(
  "enrolment.purge",
  `DELETE FROM enrolment WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM enrolment WHERE expire_at <= $1 ORDER BY expire_at LIMIT $2))`,
);

export async function insertEnrolment(
  tx: Transaction,
  digest: VersionedDigest,
  holder: EnrolmentHolder,
  expireAt: Date,
): Promise<void> {
  await tx.query(insertEnrolmentRow(digest.version, digest.digest, holder.kind, holder.id, expireAt));
}

/** Codes given out before count no more. */
export async function voidEnrolments(tx: Transaction, holder: EnrolmentHolder): Promise<void> {
  await tx.query(deleteOfHolder(holder.kind, holder.id));
}

/**
 * Takes a living code: of any number of takers at once, one gets the holder, and may ask again under the same
 * `redeemedBy` as long as no newer code was issued.
 */
export async function takeEnrolment(
  tx: Transaction,
  digests: readonly VersionedDigest[],
  now: Date,
  redeemedBy: string,
): Promise<EnrolmentHolder | undefined> {
  const take = takeByDigest(...columnsOf(digests), now, redeemedBy);
  return (await tx.query<{ kind: EnrolmentHolder["kind"]; id: string }>(take)).rows[0];
}

export async function purgeEnrolments(db: Database, now: Date, batchMax: number): Promise<number> {
  return (await db.query(purgeExpired(now, batchMax))).rowCount;
}
