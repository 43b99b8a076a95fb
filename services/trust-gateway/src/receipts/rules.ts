/** What a receipt states and how its micro-batch is signed; the format is documented in docs/receipts.md. Pure. */
import { type ClaimElements, canonicalElements } from "@fujie/identity";
import { commit, encodeCanonical } from "@fujie/transparency";

export const RECEIPT_VERSION = 1;
export const COMMITMENT_TAG = "fujie.receipt.claims.v1";
const BATCH_PREFIX = "fujie-receipt-batch-v1\n";

export interface Statement {
  readonly verificationId: string;
  readonly applicationId: string;
  readonly purpose: string;
  readonly outcome: "VERIFIED" | "REJECTED";
  /** 0 unless verified. */
  readonly level: number;
  readonly decidedAtMs: number;
  /** Of the claim's elements: see `commitElements`. */
  readonly commitment: Uint8Array;
}

/** The canonical bytes that a receipt binds. Tags 1 to 7 in the order of `Statement`. */
export function encodeStatement(statement: Statement): Uint8Array {
  return encodeCanonical(RECEIPT_VERSION, [
    [1, statement.verificationId],
    [2, statement.applicationId],
    [3, statement.purpose],
    [4, statement.outcome],
    [5, BigInt(statement.level)],
    [6, BigInt(statement.decidedAtMs)],
    [7, statement.commitment],
  ]);
}

/** Binds the elements without telling them: `salt` is 32 random bytes that only the caller keeps. */
export function commitElements(claim: ClaimElements, salt: Uint8Array): Uint8Array {
  return commit(COMMITMENT_TAG, salt, Buffer.from(canonicalElements(claim)));
}

/** What is signed for a batch: prefix ‖ size (uint32, big-endian) ‖ root. */
export function batchMessage(root: Uint8Array, size: number): Uint8Array {
  const sizeBytes = Buffer.alloc(4);
  sizeBytes.writeUInt32BE(size);
  return Buffer.concat([Buffer.from(BATCH_PREFIX), sizeBytes, root]);
}
