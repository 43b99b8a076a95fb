import type { KeyRing } from "@fujie/kit/keys";
import { encodeCanonical } from "@fujie/transparency";
import type { Evidence } from "./rules.ts";

/** A row of trust.evidence, but for its MAC. */
export interface EvidenceRow extends Evidence {
  readonly evidenceId: string;
  /** Absent for a certificate that was checked on its own. */
  readonly verificationId?: string | undefined;
  /** Keyed digest of what the evidence is about: the claim's elements, or a certificate's holder. */
  readonly subjectDigest: Uint8Array;
  /** The evidence whose word is used again here. */
  readonly reusedFrom?: string | undefined;
}

/** Binds everything that the row says. Whoever has the database but not the key can neither make nor move one. */
export function macOf(ring: Pick<KeyRing, "hmac">, row: EvidenceRow): Buffer {
  return ring.hmac("evidence", canonicalRow(row)).digest;
}

export function isGenuine(ring: Pick<KeyRing, "hmacMatches">, row: EvidenceRow, mac: Uint8Array): boolean {
  return ring.hmacMatches("evidence", canonicalRow(row), mac);
}

function canonicalRow(row: EvidenceRow): Uint8Array {
  return encodeCanonical(1, [
    [1, row.evidenceId],
    [2, row.verificationId ?? ""],
    [3, row.sourceId],
    [4, row.verdict],
    [5, BigInt(row.level)],
    [6, BigInt(row.checkedAtMs)],
    [7, row.subjectDigest],
    ...(row.reusedFrom === undefined ? [] : [[8, row.reusedFrom] as const]),
  ]);
}
