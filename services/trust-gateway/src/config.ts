import {
  type CommonSettings,
  type ConfigOf,
  type ConfigProblem,
  durationMs,
  filePath,
  integer,
  readServiceConfig,
  text,
} from "@fujie/kit/config";
import { SourcesFileError } from "./sources/entry.ts";
import { readSourcesFile } from "./sources/file.ts";

export const settings = {
  sourcesFile: filePath({ exists: true }).doc("The trust sources, their addresses and keys (JSON)."),
  egressAllowHosts: text({ pattern: /^[a-z0-9.:[\],-]{1,2000}$/, kind: "hosts, separated by commas" })
    .optional()
    .doc("Hosts of CAs' lists and responders that may be private or in clear text; absent: public https only."),
  sourceConcurrencyMax: integer({ min: 1, max: 10_000 })
    .default("64")
    .doc("Calls to one source at once; fewer while it is slow."),
  sourceQueueMax: integer({ min: 0, max: 100_000 }).default("256").doc("Calls that may wait for a source."),
  sourceTimeoutMs: durationMs({ min: 50, max: 60_000 })
    .default("2000")
    .doc("For one call to a source; one that is usually quick is given up sooner."),
  sourceAttemptsMax: integer({ min: 1, max: 10 }).default("2").doc("Calls for one check, the first one included."),
  sourceBreakMs: durationMs({ min: 10, max: 600_000 })
    .default("5000")
    .doc("How long a source that is away is left alone before one call tries again."),
  applicationRatePerSecond: integer({ min: 1, max: 1_000_000 })
    .default("50")
    .doc("Verifications per second of an application whose policy names no rate."),
  identifierPerDayMax: integer({ min: 1, max: 1_000_000 })
    .default("100")
    .doc("Verifications per day about one identifier, by all applications together."),
  networkPerMinuteMax: integer({ min: 1, max: 100_000_000 })
    .default("600000")
    .doc("Verifications per minute from one network (/24, or /48 of IPv6), by all applications together."),
  pendingRetryBaseMs: durationMs({ min: 10, max: 3_600_000 })
    .default("1000")
    .doc("First pause before a pending verification's sources are asked again; doubles."),
  pendingRetryMaxMs: durationMs({ min: 10, max: 86_400_000 }).default("15000").doc("Longest such pause."),
  pendingSweepMs: durationMs({ min: 10, max: 600_000 }).default("1000").doc("How often pending ones are looked for."),
  pendingBatchMax: integer({ min: 1, max: 10_000 }).default("64").doc("Pending verifications taken at once."),
  pendingKeepDays: integer({ min: 1, max: 31 })
    .default("7")
    .doc("How long a verification stays pending that no source answers; then it expires, its elements are erased."),
  reviewKeepDays: integer({ min: 1, max: 92 })
    .default("30")
    .doc("How long one stays pending that a person has to look at."),
  verificationKeepDays: integer({ min: 184, max: 36_500 })
    .default("400")
    .doc("How long a decided verification and its evidence are kept."),
  receiptSaltKeepMs: durationMs({ min: 60_000, max: 31 * 86_400_000 })
    .default("86400000")
    .doc("How long a caller can fetch its receipt's salt again."),
} as const;

export type Config = ConfigOf<CommonSettings & typeof settings>;

/** Reads the settings, the sources file included. Throws ConfigError, which names what is wrong. */
export function readGatewayConfig(env: Readonly<Record<string, string | undefined>>): Config {
  return readServiceConfig<typeof settings>(env, settings, [checkSources, checkRetries]);
}

function checkSources({ sourcesFile, environment }: Config): readonly ConfigProblem[] {
  try {
    readSourcesFile(sourcesFile, environment);
    return [];
  } catch (error) {
    if (error instanceof SourcesFileError) return [{ name: "FUJIE_SOURCES_FILE", problem: error.message }];
    throw error;
  }
}

function checkRetries({ pendingRetryBaseMs, pendingRetryMaxMs }: Config): readonly ConfigProblem[] {
  if (pendingRetryBaseMs <= pendingRetryMaxMs) return [];
  return [{ name: "FUJIE_PENDING_RETRY_MAX_MS", problem: "must not be less than FUJIE_PENDING_RETRY_BASE_MS" }];
}
