/** Kills services, each as often as any other, in an order and at moments that a seed decides. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Platform, SERVICES, type ServiceName } from "../../src/up/index.ts";

export interface KillPlan {
  readonly killsMax: number;
  /** Between two kills, on average. A service needs seconds to start: shorter, and nothing is ever up. */
  readonly killEveryMs: number;
}

export interface Killing {
  /** Whom it killed so far: within the first four, each service once. */
  readonly killed: readonly ServiceName[];
  stop(): Promise<void>;
}

/** Goes on until it is stopped or has had its last kill. */
export function startKilling(platform: Platform, random: () => number, plan: KillPlan): Killing {
  const killed: ServiceName[] = [];
  const stop = new AbortController();
  const running = killAtRandom(platform, random, plan, killed, stop.signal);
  return {
    killed,
    stop: () => {
      stop.abort();
      return running;
    },
  };
}

async function killAtRandom(
  platform: Platform,
  random: () => number,
  { killsMax, killEveryMs }: KillPlan,
  killed: ServiceName[],
  signal: AbortSignal,
): Promise<void> {
  let round: ServiceName[] = [];
  while (killed.length < killsMax) {
    await sleep(killEveryMs * (0.5 + random()), undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    if (round.length === 0) round = [...SERVICES];
    const next = Math.floor(random() * round.length);
    const service = round[next];
    const pid = service === undefined ? undefined : platform.programs.get(service)?.pid();
    // Not up again yet: its turn comes later.
    if (service === undefined || pid === undefined) continue;
    round.splice(next, 1);
    process.kill(pid, "SIGKILL");
    killed.push(service);
  }
}

/** mulberry32: small, and the same everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
