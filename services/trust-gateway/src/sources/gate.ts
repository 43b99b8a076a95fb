/** The door of a source: so many calls at once as its limiter lets in; the others wait in fair order, for a bounded time. */
import type { Clock } from "@fujie/kit/clock";
import { type Claimant, createFairQueue } from "./fair-queue.ts";
import type { Limiter } from "./limiter.ts";
import { SourceError } from "./source.ts";

export interface GateOptions {
  readonly clock: Clock;
  readonly limiter: Limiter;
  readonly queueMax: number;
  /** Whoever has waited so long is sent away instead of let in. */
  readonly waitMsMax: number;
}

export interface Gate {
  readonly inFlight: number;
  readonly queued: number;
  /** Whether this claimant would be let in or find a place in the queue. */
  admits(claimant: Claimant): boolean;
  /** How long the queue takes, about: what a refused one waits before it comes again. */
  retryAfterMs(): number;
  /** Resolves inside; `leave` has to follow. Throws SourceError LIMITED, at once or when the wait was in vain. */
  enter(claimant: Claimant, signal?: AbortSignal): Promise<void>;
  /** Undefined: no call was made. */
  leave(call: { readonly durationMs: number; readonly dropped: boolean } | undefined): void;
  /** Sends away everybody who waits: the source is not asked any more. */
  clear(error: SourceError): void;
}

interface Waiting {
  readonly untilMs: number;
  readonly letIn: () => void;
  readonly sendAway: (error: SourceError) => void;
}

const RETRY_MS_MIN = 50;
const CALL_WEIGHT = 0.1;

export function createGate({ clock, limiter, queueMax, waitMsMax }: GateOptions): Gate {
  const queue = createFairQueue<Waiting>(queueMax);
  let inFlight = 0;
  let callMs = RETRY_MS_MIN;

  const retryAfterMs = (): number =>
    Math.max(RETRY_MS_MIN, Math.min(waitMsMax, Math.round((queue.size * callMs) / limiter.limit())));
  const full = (): SourceError =>
    new SourceError("LIMITED", "not called: too many calls", { retryAfterMs: retryAfterMs() });

  function letIn(): void {
    while (inFlight < limiter.limit()) {
      const next = queue.shift();
      if (next === undefined) return;
      if (next.untilMs <= clock.nowMs()) {
        next.sendAway(full());
        continue;
      }
      inFlight += 1;
      next.letIn();
    }
  }

  async function wait(claimant: Claimant, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { untilMs: clock.nowMs() + waitMsMax, letIn: resolve, sendAway: reject };
    queue.push(waiting, claimant)?.sendAway(full());
    const onAbort = (): void => {
      if (queue.remove(waiting)) reject(new SourceError("LIMITED", "not called: not needed any more"));
    };
    signal?.addEventListener("abort", onAbort);
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  return {
    get inFlight() {
      return inFlight;
    },
    get queued() {
      return queue.size;
    },
    admits: (claimant) => inFlight < limiter.limit() || queue.admits(claimant),
    retryAfterMs,
    enter: async (claimant, signal) => {
      if (signal?.aborted === true) throw new SourceError("LIMITED", "not called: not needed any more");
      if (queue.size === 0 && inFlight < limiter.limit()) {
        inFlight += 1;
        return;
      }
      await wait(claimant, signal);
    },
    leave: (call) => {
      if (call !== undefined) limiter.ended({ ...call, inFlight });
      if (call?.dropped === false) callMs += (call.durationMs - callMs) * CALL_WEIGHT;
      inFlight -= 1;
      letIn();
    },
    clear: (error) => {
      for (const { sendAway } of queue.drain()) sendAway(error);
    },
  };
}
