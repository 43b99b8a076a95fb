import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import { type EvidenceRow, isGenuine, macOf } from "./mac.ts";
import type { Verdict } from "./rules.ts";

// A source that was away and then answers replaces its own word; an answer that was given stays.
const upsert = statement(
  "evidence.put",
  `INSERT INTO trust.evidence AS e
     (evidence_id, verification_id, source_id, verdict, level, checked_at_ms, subject_digest, mac, expires_at_ms)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
   ON CONFLICT (verification_id, source_id) DO UPDATE SET
     evidence_id = excluded.evidence_id, verdict = excluded.verdict, level = excluded.level,
     checked_at_ms = excluded.checked_at_ms, subject_digest = excluded.subject_digest, mac = excluded.mac
   WHERE e.verdict = 'UNAVAILABLE'`,
);
const selectOf = statement(
  "evidence.of",
  `SELECT evidence_id AS "evidenceId", verification_id AS "verificationId", source_id AS "sourceId", verdict, level,
     checked_at_ms::float8 AS "checkedAtMs", subject_digest AS "subjectDigest", mac
   FROM trust.evidence WHERE verification_id = $1 ORDER BY source_id`,
);
const removeForged = statement("evidence.remove", `DELETE FROM trust.evidence WHERE evidence_id = ANY ($1::uuid[])`);
const purgeBatch = statement(
  "evidence.purge",
  `DELETE FROM trust.evidence WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM trust.evidence WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

export async function putEvidence(
  tx: Transaction,
  ring: Pick<KeyRing, "hmac">,
  row: EvidenceRow,
  expiresAtMs?: number,
): Promise<void> {
  const digest = Buffer.from(row.subjectDigest);
  const { evidenceId, verificationId = null, sourceId, verdict, level, checkedAtMs } = row;
  const mac = macOf(ring, row);
  await tx.query(
    upsert(evidenceId, verificationId, sourceId, verdict, level, checkedAtMs, digest, mac, expiresAtMs ?? null),
  );
}

export interface EvidenceFound {
  readonly rows: readonly EvidenceRow[];
  /** Ids of rows whose MAC does not fit: somebody wrote them past the service. They count for nothing. */
  readonly forged: readonly string[];
}

export async function readEvidence(
  db: Queryable,
  ring: Pick<KeyRing, "hmacMatches">,
  verificationId: string,
): Promise<EvidenceFound> {
  type Row = {
    evidenceId: string;
    verificationId: string;
    sourceId: string;
    verdict: Verdict;
    level: number;
    checkedAtMs: number;
    subjectDigest: Buffer;
    mac: Buffer;
  };
  const { rows } = await db.query<Row>(selectOf(verificationId));
  const genuine = rows.filter((row) => isGenuine(ring, row, row.mac));
  return { rows: genuine, forged: rows.filter((row) => !genuine.includes(row)).map(({ evidenceId }) => evidenceId) };
}

/** Removes rows that `readEvidence` found forged, so that genuine evidence can take their place. */
export async function removeEvidence(tx: Transaction, evidenceIds: readonly string[]): Promise<void> {
  await tx.query(removeForged(evidenceIds));
}

/** Removes certificate evidence whose time is over; a verification's goes with it. */
export async function purgeEvidence(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeBatch(nowMs, batchMax))).rowCount;
}
