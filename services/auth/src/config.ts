import { type CommonSettings, type ConfigOf, durationMs, integer, readServiceConfig } from "@fujie/kit/config";

const HOUR_MS = 3_600_000;

export const settings = {
  sessionLifetimeMs: durationMs({ min: 60_000, max: 12 * HOUR_MS })
    .default(String(12 * HOUR_MS))
    .doc("After this time everybody signs in again."),
  sessionIdleMs: durationMs({ min: 60_000, max: 12 * HOUR_MS })
    .default(String(2 * HOUR_MS))
    .doc("A session that is not used for so long ends."),
  trustedProxies: integer({ min: 0, max: 8 })
    .default("0")
    .doc("Reverse proxies in front whose X-Forwarded-For entries tell where a request comes from."),
} as const;

export type Config = ConfigOf<CommonSettings & typeof settings>;

/** Reads the settings of auth; throws ConfigError with everything that is wrong. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  return readServiceConfig(env, settings, [checkIssuer, checkIdle]);
}

/** The pages are at fixed paths below the issuer's host, and discovery at the root. */
function checkIssuer({ issuer }: Config) {
  if (new URL(issuer).origin === issuer) return [];
  return [{ name: "FUJIE_ISSUER", problem: "must be scheme, host and port only, without a final slash" }];
}

function checkIdle({ sessionIdleMs, sessionLifetimeMs }: Config) {
  if (sessionIdleMs <= sessionLifetimeMs) return [];
  return [{ name: "FUJIE_SESSION_IDLE_MS", problem: "must not be longer than FUJIE_SESSION_LIFETIME_MS" }];
}
