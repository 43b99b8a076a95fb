import { type Database, type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import { type EvidenceRow, isGenuine, macOf } from "./mac.ts";
import type { Verdict } from "./rules.ts";

// A source that was away and then answers replaces its own word; an answer that was given stays.
const upsert = statement(
  "evidence.put",
  `INSERT INTO trust.evidence AS e
     (evidence_id, verification_id, source_id, verdict, level, checked_at_ms, reused_from, subject_digest, mac,
      expires_at_ms)
   SELECT evidence_id, verification_id, source_id, verdict, level, checked_at_ms, reused_from,
     substring($7::bytea FROM ((o - 1) * 32 + 1)::int FOR 32), substring($8::bytea FROM ((o - 1) * 32 + 1)::int FOR 32), $9
   FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $10::uuid[])
     WITH ORDINALITY AS given (evidence_id, verification_id, source_id, verdict, level, checked_at_ms, reused_from, o)
   ON CONFLICT (verification_id, source_id) DO UPDATE SET
     evidence_id = excluded.evidence_id, verdict = excluded.verdict, level = excluded.level,
     checked_at_ms = excluded.checked_at_ms, subject_digest = excluded.subject_digest, mac = excluded.mac,
     reused_from = excluded.reused_from
   WHERE e.verdict = 'UNAVAILABLE'`,
);
const selectOf = statement(
  "evidence.of",
  `SELECT evidence_id AS "evidenceId", verification_id AS "verificationId", source_id AS "sourceId", verdict, level,
     checked_at_ms::float8 AS "checkedAtMs", subject_digest AS "subjectDigest", mac,
     reused_from AS "reusedFrom"
   FROM trust.evidence WHERE verification_id = $1 ORDER BY source_id`,
);
const removeForged = statement("evidence.remove", `DELETE FROM trust.evidence WHERE evidence_id = ANY ($1::uuid[])`);
const purgeBatch = statement(
  "evidence.purge",
  `DELETE FROM trust.evidence WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM trust.evidence WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

/** Puts what sources said; at most one word of each source about each verification. */
export function putEvidence(
  tx: Transaction,
  ring: Pick<KeyRing, "hmac">,
  rows: readonly EvidenceRow[],
  expiresAtMs?: number,
): void {
  if (rows.length === 0) return;
  tx.send(
    upsert(
      rows.map(({ evidenceId }) => evidenceId),
      rows.map(({ verificationId = null }) => verificationId),
      rows.map(({ sourceId }) => sourceId),
      rows.map(({ verdict }) => verdict),
      rows.map(({ level }) => level),
      rows.map(({ checkedAtMs }) => checkedAtMs),
      Buffer.concat(rows.map(({ subjectDigest }) => subjectDigest)),
      Buffer.concat(rows.map((row) => macOf(ring, row))),
      expiresAtMs ?? null,
      rows.map(({ reusedFrom = null }) => reusedFrom),
    ),
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
    reusedFrom: string | null;
  };
  const found = await db.query<Row>(selectOf(verificationId));
  const rows = found.rows.map((row) => ({ ...row, reusedFrom: row.reusedFrom ?? undefined }));
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
