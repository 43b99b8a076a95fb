import {
  formatAddCheckpoint,
  type NoteSignature,
  proveConsistencyFromTiles,
  type ReadTile,
  readCosignatures,
} from "@fujie/transparency";
import type { PublishedCheckpoint } from "../log/store.ts";
import type { Witness } from "./witnesses-file.ts";

/** How a submission ended. */
export type Submission =
  | { readonly kind: "cosigned"; readonly signatures: readonly NoteSignature[] }
  /** The witness cosigned another size last: ask again from there. */
  | { readonly kind: "elsewhere"; readonly size: number }
  /** The witness says that the log is not the one it knows (422, or it knows a larger one): somebody must look. */
  | { readonly kind: "contradicted"; readonly problem: string }
  | { readonly kind: "failed"; readonly problem: string };

export interface SubmitContext {
  readonly tiles: ReadTile;
  readonly fetch: typeof fetch;
  readonly timeoutMs: number;
  /** Ends what is under way. */
  readonly stopping: AbortSignal;
}

const ANSWER_BYTES_MAX = 65_536;

/** Submits a checkpoint to a witness that cosigned `oldSize` last (c2sp.org/tlog-witness). Never throws. */
export async function submitCheckpoint(
  context: SubmitContext,
  witness: Witness,
  checkpoint: PublishedCheckpoint,
  oldSize: number,
): Promise<Submission> {
  const { size, note } = checkpoint;
  if (oldSize > size) return { kind: "contradicted", problem: `the witness knows ${oldSize} entries` };
  try {
    const proof = await proveConsistencyFromTiles(oldSize, size, context.tiles);
    const response = await context.fetch(`${witness.url}/add-checkpoint`, {
      method: "POST",
      headers: { "content-type": "text/plain; charset=utf-8" },
      body: formatAddCheckpoint({ oldSize, proof, checkpoint: note }),
      redirect: "error",
      signal: AbortSignal.any([context.stopping, AbortSignal.timeout(context.timeoutMs)]),
    });
    return readAnswer(response.status, await readText(response), note, witness);
  } catch (error) {
    return { kind: "failed", problem: error instanceof Error ? error.message : "no answer" };
  }
}

function readAnswer(status: number, body: string, note: string, { verifier }: Witness): Submission {
  if (status === 200) {
    const signatures = readCosignatures(note, body, [verifier]);
    return signatures === undefined
      ? { kind: "failed", problem: "no valid cosignature in the answer" }
      : { kind: "cosigned", signatures };
  }
  const [, size] = /^(\d{1,15})\n$/.exec(body) ?? [];
  if (status === 409 && size !== undefined) return { kind: "elsewhere", size: Number(size) };
  if (status === 422) return { kind: "contradicted", problem: "the witness finds the log inconsistent" };
  return { kind: "failed", problem: `the witness answered ${status}` };
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
