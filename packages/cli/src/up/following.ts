/**
 * Waits until the services have heard of each other. Each is ready before that, so that one that is away keeps no other
 * from starting; but until then privileged calls are refused, and auth has not yet heard which operators there are.
 */
import { setTimeout as sleep } from "node:timers/promises";

const TIMEOUT_MS = 60_000;
const POLL_MS = 150;
/** More than two heartbeats. */
const LAG_MAX_MS = 5_000;

/** Asks the services' metrics, at the base addresses of their admin ports. Throws when they do not find each other. */
export async function untilFollowing(adminUrls: readonly string[]): Promise<void> {
  const endMs = performance.now() + TIMEOUT_MS;
  for (const url of adminUrls) {
    while (!isFollowing(await readMetrics(url))) {
      if (performance.now() > endMs) throw new Error(`the service at ${url} does not hear of the others`);
      await sleep(POLL_MS);
    }
  }
}

async function readMetrics(adminUrl: string): Promise<string> {
  return fetch(`${adminUrl}/metrics`).then(
    (response) => response.text(),
    () => "",
  );
}

/** Whether revocations are known, and every other feed that the service follows. Exported for its test. */
export function isFollowing(metrics: string): boolean {
  const revocations = samplesOf(metrics, "fujie_revocations_stale");
  const lags = samplesOf(metrics, "fujie_feed_lag");
  return revocations.length > 0 && revocations.every((stale) => stale === 0) && lags.every((lag) => lag < LAG_MAX_MS);
}

/** The values of a metric in Prometheus' text format: `name{labels} value [time]`. */
function samplesOf(metrics: string, name: string): number[] {
  return metrics.split("\n").flatMap((line) => {
    const [, value] = new RegExp(`^${name}(?:_[a-z]+)?(?:\\{.*\\})? (\\S+)`).exec(line) ?? [];
    return value === undefined ? [] : [Number(value)];
  });
}
