import { decodeCanonical, encodeCanonical } from "./canonical.ts";
import { COMMITMENT_BYTES, type CommitmentRefusal, commit, verifyCommitment } from "./commitment.ts";
import { FormatError } from "./errors.ts";
import type { Verdict } from "./verdict.ts";

/** What a receipt of a decision states, and how its micro-batch is signed (docs/receipts.md). */

export type ReceiptStatement = {
  readonly verificationId: string;
  readonly applicationId: string;
  readonly purpose: string;
  readonly outcome: ReceiptOutcome;
  /** 0 unless verified. */
  readonly level: number;
  readonly decidedAtMs: number;
  /** Of the claim's elements: see `commitElements`. */
  readonly commitment: Uint8Array;
  /** Whether an SM2 signature belongs to the receipt: without it, it is not whole. */
  readonly sm2: boolean;
};

/** EXPIRED: nobody answered for as long as the question was kept; nothing is said of the subject. */
export type ReceiptOutcome = (typeof outcomes)[number];

const outcomes = ["VERIFIED", "REJECTED", "EXPIRED"] as const;
const STATEMENT_VERSION = 1;
const ELEMENTS_TAG = "fujie.receipt.claims.v1";
const BATCH_PREFIX = "fujie-receipt-batch-v1\n";

/** The canonical bytes that a receipt binds: tags 1 to 8 in the order of the fields, the last one only where it is so. */
export function encodeReceiptStatement(statement: ReceiptStatement): Uint8Array {
  return encodeCanonical(STATEMENT_VERSION, [
    [1, statement.verificationId],
    [2, statement.applicationId],
    [3, statement.purpose],
    [4, statement.outcome],
    [5, BigInt(statement.level)],
    [6, BigInt(statement.decidedAtMs)],
    [7, statement.commitment],
    ...(statement.sm2 ? [[8, true] as const] : []),
  ]);
}

/** Reads a statement. Throws FormatError for anything that `encodeReceiptStatement` would not have written. */
export function decodeReceiptStatement(bytes: Uint8Array): ReceiptStatement {
  const { version, fields } = decodeCanonical(bytes);
  if (version !== STATEMENT_VERSION) throw new FormatError("version", "not 1");
  if (fields.some(([tag], i) => tag !== i + 1) || fields.length < 7 || fields.length > 8)
    throw new FormatError("fields", "not those of a receipt");
  const [id, application, purpose, outcome, level, time, commitment, sm2] = fields.map(([, value]) => value);
  const known = outcomes.find((each) => each === outcome);
  const isWhole =
    typeof id === "string" &&
    typeof application === "string" &&
    typeof purpose === "string" &&
    typeof level === "bigint" &&
    typeof time === "bigint" &&
    commitment instanceof Uint8Array;
  if (!isWhole || known === undefined || commitment.length !== COMMITMENT_BYTES)
    throw new FormatError("fields", "not those of a receipt");
  if (sm2 !== undefined && sm2 !== true) throw new FormatError("fields.8", "not true");
  return {
    verificationId: id,
    applicationId: application,
    purpose,
    outcome: known,
    level: Number(level),
    decidedAtMs: Number(time),
    commitment,
    sm2: sm2 === true,
  };
}

/** Binds the elements, given in their canonical text: `salt` is 32 random bytes that only the caller keeps. */
export function commitElements(canonicalElements: string, salt: Uint8Array): Uint8Array {
  return commit(ELEMENTS_TAG, salt, Buffer.from(canonicalElements));
}

/** Whether a receipt's commitment is to these elements under this salt. */
export function verifyElements(
  commitment: Uint8Array,
  salt: Uint8Array,
  canonicalElements: string,
): Verdict<CommitmentRefusal> {
  return verifyCommitment(commitment, ELEMENTS_TAG, salt, Buffer.from(canonicalElements));
}

/** What is signed for a batch: prefix ‖ size (uint32, big-endian) ‖ root. */
export function receiptBatchMessage(root: Uint8Array, size: number): Uint8Array {
  const sizeBytes = Buffer.alloc(4);
  sizeBytes.writeUInt32BE(size);
  return Buffer.concat([Buffer.from(BATCH_PREFIX), sizeBytes, root]);
}
