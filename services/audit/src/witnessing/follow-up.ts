import type { Clock } from "@fujie/kit/clock";
import type { Database } from "@fujie/kit/db";
import type { Logger } from "@fujie/kit/log";
import { backoffMs, type Timers } from "@fujie/kit/timers";
import { appendSignatures, type NoteSignature, openNote, type ReadTile } from "@fujie/transparency";
import { type PublishedCheckpoint, readCheckpoint } from "../log/store.ts";
import { keepWitnessed, readWitnessed } from "./store.ts";
import { type Submission, type SubmitContext, submitCheckpoint } from "./submit.ts";
import type { Witness } from "./witnesses-file.ts";

export interface WitnessingOptions {
  readonly db: Database;
  readonly tiles: ReadTile;
  readonly witnesses: readonly Witness[];
  /** Only the leader submits. */
  readonly isLeading: () => boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  readonly fetch?: typeof fetch;
}

export interface Witnessing extends AsyncDisposable {
  /** By witness, for how long there have been entries that it has not cosigned; 0 when it is up to date. */
  lagMs(name: string): number;
}

interface Standing {
  readonly witness: Witness;
  /** What it cosigned last, as far as is known here; it corrects us. */
  size: number;
  failures: number;
  notBeforeMs: number;
  currentAtMs: number;
}

/** Checkpoints go out this often at most. */
const ROUND_MS = 2_000;
const SUBMIT_TIMEOUT_MS = 10_000;
const BACKOFF = { baseMs: 2_000, capMs: 60_000 };

/**
 * Brings the newest checkpoint to the witnesses, in the background and in rounds:
 *
 *   newest checkpoint ─▶ every witness that has not cosigned it ─▶ their cosignatures ─▶ kept with the checkpoint
 *
 * A witness that is away is asked again later, at growing distances, and never holds up the log or the other witnesses
 * for longer than one round.
 */
export function startWitnessing(options: WitnessingOptions): Witnessing {
  const { db, tiles, witnesses, isLeading, clock, timers, log } = options;
  const stop = new AbortController();
  const context: SubmitContext = {
    tiles,
    fetch: options.fetch ?? fetch,
    timeoutMs: SUBMIT_TIMEOUT_MS,
    stopping: stop.signal,
  };
  const standings = witnesses.map(
    (witness): Standing => ({ witness, size: 0, failures: 0, notBeforeMs: 0, currentAtMs: clock.nowMs() }),
  );

  async function runRounds(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        if (isLeading()) await runRound();
        else for (const standing of standings) standing.currentAtMs = clock.nowMs();
      } catch (error) {
        log.warn({ error }, "the checkpoint could not be brought to the witnesses");
      }
      await timers.sleep(ROUND_MS, stop.signal);
    }
  }

  async function runRound(): Promise<void> {
    const [checkpoint, witnessed] = [await readCheckpoint(db), await readWitnessed(db)];
    if (checkpoint === undefined) return;
    const nowMs = clock.nowMs();
    for (const standing of standings) {
      if (isCosigned(checkpoint, witnessed, standing.witness)) standing.currentAtMs = nowMs;
    }
    const due = standings.filter(
      (standing) => standing.notBeforeMs <= nowMs && !isCosigned(checkpoint, witnessed, standing.witness),
    );
    const answers = await Promise.all(due.map((standing) => submit(standing, checkpoint)));
    const signatures = answers.flat();
    if (signatures.length === 0) return;
    const base = witnessed?.size === checkpoint.size ? witnessed.note : checkpoint.note;
    await keepWitnessed(db, checkpoint.size, appendSignatures(base, signatures));
  }

  /** At most twice: once more from the size that the witness told. */
  async function submit(standing: Standing, checkpoint: PublishedCheckpoint): Promise<readonly NoteSignature[]> {
    const { witness } = standing;
    let answer = await submitCheckpoint(context, witness, checkpoint, Math.min(standing.size, checkpoint.size));
    if (answer.kind === "elsewhere") answer = await submitCheckpoint(context, witness, checkpoint, answer.size);
    return settle(standing, answer, checkpoint.size);
  }

  function settle(standing: Standing, answer: Submission, size: number): readonly NoteSignature[] {
    if (answer.kind === "cosigned") {
      standing.size = size;
      standing.failures = 0;
      standing.currentAtMs = clock.nowMs();
      return answer.signatures;
    }
    standing.failures += 1;
    standing.notBeforeMs = clock.nowMs() + backoffMs(standing.failures, BACKOFF);
    const fields = { witness: standing.witness.verifier.name, ...answer };
    if (answer.kind === "contradicted") log.error(fields, "a witness contradicts the log: verify it from outside");
    else log.warn(fields, "a witness did not cosign");
    return [];
  }

  const running = runRounds();
  return {
    lagMs: (name) => {
      const standing = standings.find(({ witness }) => witness.verifier.name === name);
      return standing === undefined ? 0 : Math.max(0, clock.nowMs() - standing.currentAtMs);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

/** Whether the newest checkpoint already stands there with this witness's cosignature. */
function isCosigned(
  checkpoint: PublishedCheckpoint,
  witnessed: PublishedCheckpoint | undefined,
  { verifier }: Witness,
): boolean {
  return witnessed?.size === checkpoint.size && openNote(witnessed.note, [verifier]).ok;
}
