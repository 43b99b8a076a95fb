import {
  type AddCheckpoint,
  addSignatures,
  appendSignatures,
  type Checkpoint,
  emptyRoot,
  FormatError,
  formatSignature,
  openNote,
  parseAddCheckpoint,
  parseCheckpoint,
  type Signer,
  type Verifier,
  verifyConsistency,
} from "@fujie/transparency";
import type { Cosigned, State } from "./state.ts";

/** What the witness answers (c2sp.org/tlog-witness). */
export type Answer =
  | { readonly status: 200; readonly body: string }
  | { readonly status: 409; readonly body: string }
  | { readonly status: 400 | 403 | 404 | 422; readonly body: string };

export interface Witness {
  readonly state: State;
  readonly cosigner: Signer;
  readonly logs: ReadonlyMap<string, readonly Verifier[]>;
}

/**
 * Cosigns a checkpoint that continues the last one:
 *
 *   form ─▶ origin ─▶ signature ─▶ sizes ─▶ consistency with what was cosigned last ─▶ cosign ─▶ remember ─▶ answer
 *
 * A cosignature leaves only after the checkpoint is remembered, by compare-and-swap on the size: so two requests at
 * once, or a crash at any point, never let one log show two histories under this witness's name.
 */
export async function addCheckpoint({ state, cosigner, logs }: Witness, body: Uint8Array): Promise<Answer> {
  const request = attempt(() => parseAddCheckpoint(body));
  if (request === undefined) return refusal(400, "malformed request");
  const origin = request.checkpoint.slice(0, request.checkpoint.indexOf("\n"));
  const verifiers = logs.get(origin);
  if (verifiers === undefined) return refusal(404, "unknown log");
  const opened = openNote(request.checkpoint, verifiers);
  if (!opened.ok) return refusal(403, "not signed by the log");
  const checkpoint = attempt(() => parseCheckpoint(opened.text));
  // An empty tree with another root is a malformed checkpoint too, but the protocol has a status of its own for it.
  if (checkpoint === undefined) return isEmptyTree(opened.text) ? inconsistent() : refusal(400, "malformed checkpoint");
  if (request.oldSize > checkpoint.size) return refusal(400, "the old size is larger than the checkpoint");

  const last = state.latest(origin) ?? { size: 0, root: emptyRoot() };
  if (request.oldSize !== last.size) return conflict(last.size);
  if (!isContinued(request, checkpoint, last)) return inconsistent();

  const cosigned = await addSignatures({ text: opened.text, signatures: [] }, [cosigner]);
  const note = appendSignatures(request.checkpoint, cosigned.signatures);
  const { size, root } = checkpoint;
  if (!state.advance(origin, last.size, { size, root, note })) return conflict(state.latest(origin)?.size ?? 0);
  return { status: 200, body: cosigned.signatures.map(formatSignature).join("") };
}

function isContinued(request: AddCheckpoint, { size, root }: Checkpoint, last: Cosigned): boolean {
  return verifyConsistency({
    oldSize: last.size,
    oldRoot: last.root,
    newSize: size,
    newRoot: root,
    path: request.proof,
  }).ok;
}

function isEmptyTree(text: string): boolean {
  return text.split("\n")[1] === "0";
}

function conflict(size: number): Answer {
  return { status: 409, body: `${size}\n` };
}

function inconsistent(): Answer {
  return refusal(422, "not consistent with what was cosigned");
}

function refusal(status: 400 | 403 | 404 | 422, problem: string): Answer {
  return { status, body: `${problem}\n` };
}

function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
