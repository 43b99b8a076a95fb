/**
 * The addresses of one source: each call goes to the better of two drawn at random (Mitzenmacher's two choices), by how
 * long it usually takes and how many calls it has now. One that fails in a row, or is far slower than the others, is left
 * out for a while, as long as another is there.
 */
import type { Clock } from "@fujie/kit/clock";
import type { Replica } from "./source.ts";

export interface ReplicasOptions {
  readonly clock: Clock;
  /** How long one is left out. */
  readonly ejectMs: number;
  /** From 0 to below 1. */
  readonly random: () => number;
}

/** A call that one replica is going to get. */
export interface Assigned {
  readonly replica: Replica;
  ended(call: { readonly durationMs: number; readonly answered: boolean }): void;
}

export interface Replicas {
  readonly size: number;
  /** How many are left out now. */
  ejected(): number;
  /** The one to ask, another than `not` where there is one. */
  pick(not?: Replica): Assigned;
}

interface State {
  readonly replica: Replica;
  inFlight: number;
  usualMs: number | undefined;
  samples: number;
  failures: number;
  ejectedUntilMs: number;
}

const FAILURES_MAX = 3;
const SAMPLES_MIN = 10;
const WEIGHT = 0.2;
const SLOWER = 3;
/** Differences below this are noise. */
const SLOWER_MS = 10;

export function createReplicas(replicas: readonly Replica[], { clock, ejectMs, random }: ReplicasOptions): Replicas {
  const states = replicas.map(
    (replica): State => ({ replica, inFlight: 0, usualMs: undefined, samples: 0, failures: 0, ejectedUntilMs: 0 }),
  );
  const isIn = ({ ejectedUntilMs }: State): boolean => ejectedUntilMs <= clock.nowMs();

  function choose(not: Replica | undefined): State {
    const others = states.length > 1 ? states.filter(({ replica }) => replica !== not) : states;
    const present = others.filter(isIn);
    const pool = present.length > 0 ? present : others;
    const a = pool[Math.floor(random() * pool.length)];
    const rest = pool.filter((state) => state !== a);
    const b = rest[Math.floor(random() * rest.length)];
    if (a === undefined) throw new RangeError("a source has at least one address");
    return b !== undefined && burdenOf(b) < burdenOf(a) ? b : a;
  }

  function burdenOf(state: State): number {
    return Math.max(1, state.usualMs ?? quickest(states) ?? 1) * (state.inFlight + 1);
  }

  function isSlow(state: State): boolean {
    const others = quickest(states.filter((other) => other !== state && isIn(other)));
    if (others === undefined || state.usualMs === undefined || state.samples < SAMPLES_MIN) return false;
    return state.usualMs > others * SLOWER + SLOWER_MS;
  }

  function eject(state: State): void {
    if (!states.some((other) => other !== state && isIn(other))) return;
    state.ejectedUntilMs = clock.nowMs() + ejectMs;
    state.failures = 0;
    state.samples = 0;
    state.usualMs = undefined;
  }

  return {
    size: states.length,
    ejected: () => states.filter((state) => !isIn(state)).length,
    pick: (not) => {
      const state = choose(not);
      state.inFlight += 1;
      return {
        replica: state.replica,
        ended: ({ durationMs, answered }) => {
          state.inFlight -= 1;
          state.failures = answered ? 0 : state.failures + 1;
          // A failure is quick as a rule: it must not pass for a good answer.
          if (answered || durationMs > (state.usualMs ?? 0)) learn(state, durationMs);
          if (isIn(state) && (isSlow(state) || state.failures >= FAILURES_MAX)) eject(state);
        },
      };
    },
  };
}

function learn(state: State, durationMs: number): void {
  state.usualMs = state.usualMs === undefined ? durationMs : state.usualMs + (durationMs - state.usualMs) * WEIGHT;
  state.samples += 1;
}

function quickest(states: readonly State[]): number | undefined {
  let found: number | undefined;
  for (const { usualMs } of states) {
    if (usualMs !== undefined && (found === undefined || usualMs < found)) found = usualMs;
  }
  return found;
}
