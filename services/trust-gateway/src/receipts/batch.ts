import type { KeyRing } from "@fujie/kit/keys";
import { receiptBatchMessage, sealBatch } from "@fujie/transparency";

/** What one receipt of a batch is made of. */
export interface Unsigned {
  readonly statement: Uint8Array;
  /** Whether the claim's policy asks for an SM2 signature beside the other. */
  readonly sm2: boolean;
}

/** A receipt but for its statement and salt. */
export interface ReceiptProof {
  readonly index: number;
  readonly batchSize: number;
  readonly path: Uint8Array[];
  readonly signature: Uint8Array;
  readonly keyId: string;
  readonly sm2Signature?: Uint8Array;
  readonly sm2KeyId?: string;
}

export interface SignedReceipts {
  /** What the audit log's event of the batch fixes. */
  readonly root: Uint8Array;
  readonly proofs: readonly ReceiptProof[];
}

/** Signs at least one statement together: one signature, or two where one of them needs SM2, whatever their number. */
export async function signReceipts(
  ring: Pick<KeyRing, "sign">,
  receipts: readonly Unsigned[],
): Promise<SignedReceipts> {
  const { root, size, paths } = sealBatch(receipts.map(({ statement }) => statement));
  const message = receiptBatchMessage(root, size);
  const [{ signature, keyId }, sm2] = await Promise.all([
    ring.sign("receipt", message),
    receipts.some((receipt) => receipt.sm2) ? ring.sign("receipt-sm2", message) : undefined,
  ]);
  const proofs = receipts.map((receipt, index) => ({
    index,
    batchSize: size,
    path: [...(paths[index]?.hashes ?? [])],
    signature,
    keyId,
    ...(receipt.sm2 && sm2 !== undefined && { sm2Signature: sm2.signature, sm2KeyId: sm2.keyId }),
  }));
  return { root, proofs };
}
