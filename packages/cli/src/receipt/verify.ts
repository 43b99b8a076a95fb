/**
 * Checks a receipt against the public keys and nothing else, in this order:
 *
 *   statement ─▶ path ─▶ root ─▶ signatures by the gateway's published receipt keys
 *                         └────▶ digest of the log's entry ─▶ leaf ─▶ inclusion ─▶ checkpoint's signatures, witnesses
 *   salt + elements ─▶ commitment of the statement
 */
import { fromJsonString } from "@bufbuild/protobuf";
import {
  type GetReceiptResponse,
  GetReceiptResponseSchema,
  type Receipt,
} from "@fujie/api/fujie/trust/v1/verification";
import type { KeyBundle } from "@fujie/kit/keys";
import {
  decodeEntry,
  decodeReceiptStatement,
  entryLeafHash,
  equalHashes,
  parseProofBundle,
  type ReceiptStatement,
  receiptBatchMessage,
  rootOfBatchPath,
  type Verifier,
  verifyElements,
  verifyProofBundle,
} from "@fujie/transparency";
import { type Cosignature, logVerifiers, originOf } from "../audit/trust.ts";

/** Whom the verifier believes. */
export interface ReceiptTrust {
  readonly bundle: Pick<KeyBundle, "verify" | "entries">;
  /** Each of them has to have cosigned the checkpoint. */
  readonly witnesses: readonly Verifier[];
}

export type ReceiptVerdict =
  | {
      readonly ok: true;
      readonly statement: ReceiptStatement;
      readonly signatures: readonly string[];
      readonly logged: {
        readonly origin: string;
        readonly index: number;
        readonly size: number;
        readonly timeMs: number;
      };
      readonly cosignatures: readonly Cosignature[];
      /** Whether it was checked whom it is about. */
      readonly elements: "COMMITTED" | "NOT_COMPARED";
    }
  | { readonly ok: false; readonly reason: string };

/** The answer of GetReceipt as a file has it. Throws for text that is not its JSON. */
export function readReceiptFile(text: string): GetReceiptResponse {
  return fromJsonString(GetReceiptResponseSchema, text);
}

class Refusal extends Error {}

/** Verifies a bundle; with the elements, in their canonical text, also that it is about them. */
export function verifyReceipt(
  file: GetReceiptResponse,
  trust: ReceiptTrust,
  canonicalElements?: string,
): ReceiptVerdict {
  try {
    const { receipt } = file;
    if (receipt === undefined) throw new Refusal("RECEIPT_MISSING");
    const statement = readOr("STATEMENT_MALFORMED", () => decodeReceiptStatement(receipt.statement));
    const root = rootOf(receipt);
    const signatures = checkSignatures(receipt, statement, root, trust);
    const { logged, cosignatures } = checkEntry(file, root, trust);
    const elements = checkElements(receipt, statement, canonicalElements);
    return { ok: true, statement, signatures, logged, cosignatures, elements };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, reason: error.message };
    throw error;
  }
}

function rootOf({ statement, index, batchSize, path }: Receipt): Uint8Array {
  const led = rootOfBatchPath(statement, { index, size: batchSize, hashes: path });
  if (!led.ok) throw new Refusal(led.reason);
  return led.root;
}

/** Every signature that belongs to the receipt, and no other. */
function checkSignatures(
  receipt: Receipt,
  { decidedAtMs, sm2 }: ReceiptStatement,
  root: Uint8Array,
  { bundle }: ReceiptTrust,
): string[] {
  const bytes = receiptBatchMessage(root, receipt.batchSize);
  const common = { service: "trust-gateway", bytes, atMs: decidedAtMs };
  const { signature, keyId, sm2Signature, sm2KeyId } = receipt;
  if (!bundle.verify({ ...common, use: "receipt", keyId, signature })) throw new Refusal("SIGNATURE_WRONG");
  if (!sm2 && (sm2Signature.length > 0 || sm2KeyId !== "")) throw new Refusal("SM2_SIGNATURE_UNEXPECTED");
  if (!sm2) return ["ES256"];
  if (!bundle.verify({ ...common, use: "receipt-sm2", keyId: sm2KeyId, signature: sm2Signature }))
    throw new Refusal("SM2_SIGNATURE_WRONG");
  return ["ES256", "SM2"];
}

/** That the root is what an event of the gateway's own fixes in the log. */
function checkEntry(file: GetReceiptResponse, root: Uint8Array, { bundle, witnesses }: ReceiptTrust) {
  const { entryPreimage, entrySalt, proofBundle } = file;
  const entry = readOr("ENTRY_MALFORMED", () => decodeEntry(entryPreimage));
  if (entry.service !== "trust-gateway" || entry.type !== "receipts.signed") throw new Refusal("ENTRY_OF_ANOTHER_KIND");
  if (!equalHashes(entry.digest, root)) throw new Refusal("ENTRY_OF_ANOTHER_BATCH");
  const leaf = readOr("ENTRY_MALFORMED", () => entryLeafHash(entryPreimage, entrySalt));
  const note = readOr("BUNDLE_MALFORMED", () => parseProofBundle(proofBundle).checkpoint);
  const origin = originOf(note);
  const log = logVerifiers(note, bundle.entries);
  const logAlgorithms = [...new Set(log.map(({ algorithm }) => algorithm))];
  const policy = { origin, witnessesMin: witnesses.length, logAlgorithms };
  const proven = verifyProofBundle(proofBundle, leaf, { log, witnesses }, policy);
  if (!proven.ok) throw new Refusal(proven.reason);
  const { index, checkpoint, cosignatures } = proven;
  return { logged: { origin, index, size: checkpoint.size, timeMs: entry.timeMs }, cosignatures };
}

function checkElements(
  { salt }: Receipt,
  { commitment }: ReceiptStatement,
  canonicalElements: string | undefined,
): "COMMITTED" | "NOT_COMPARED" {
  if (canonicalElements === undefined) return "NOT_COMPARED";
  const opened = verifyElements(commitment, salt, canonicalElements);
  if (!opened.ok) throw new Refusal(opened.reason);
  return "COMMITTED";
}

/** What is not even readable was altered. */
function readOr<Value>(reason: string, read: () => Value): Value {
  try {
    return read();
  } catch {
    throw new Refusal(reason);
  }
}
