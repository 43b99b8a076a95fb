import type { KeyRing } from "@fujie/kit/keys";
import { sealBatch } from "@fujie/transparency";
import { batchMessage } from "./rules.ts";

/** A receipt but for its statement and salt. */
export interface ReceiptProof {
  readonly index: number;
  readonly batchSize: number;
  readonly path: readonly Uint8Array[];
  readonly signature: Uint8Array;
  readonly keyId: string;
}

export interface ReceiptSigner {
  sign(statement: Uint8Array): Promise<ReceiptProof>;
}

interface Waiting {
  readonly statement: Uint8Array;
  resolve(proof: ReceiptProof): void;
  reject(error: unknown): void;
}

const BATCH_MAX = 256;

/**
 * Signs statements in natural micro-batches: what arrives while a signature is being made is signed together by the
 * next one. A statement alone is signed at once.
 */
export function createReceiptSigner(ring: Pick<KeyRing, "sign">): ReceiptSigner {
  let waiting: Waiting[] = [];
  let signing = false;

  async function signAll(): Promise<void> {
    signing = true;
    // Decisions of the same turn of the event loop share the first batch.
    await Promise.resolve();
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH_MAX);
      waiting = waiting.slice(BATCH_MAX);
      await signBatch(ring, batch);
    }
    signing = false;
  }

  return {
    sign: (statement) =>
      new Promise((resolve, reject) => {
        waiting.push({ statement, resolve, reject });
        if (!signing) void signAll();
      }),
  };
}

async function signBatch(ring: Pick<KeyRing, "sign">, batch: readonly Waiting[]): Promise<void> {
  try {
    const { root, size, paths } = sealBatch(batch.map(({ statement }) => statement));
    const { signature, keyId } = await ring.sign("receipt", batchMessage(root, size));
    for (const [i, { resolve }] of batch.entries()) {
      resolve({ index: i, batchSize: size, path: paths[i]?.hashes ?? [], signature, keyId });
    }
  } catch (error) {
    for (const { reject } of batch) reject(error);
  }
}
