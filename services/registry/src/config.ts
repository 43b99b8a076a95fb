import {
  type CommonSettings,
  type ConfigOf,
  type ConfigProblem,
  type ConfigSpec,
  filePath,
  integer,
  readServiceConfig,
  text,
} from "@fujie/kit/config";

const DAY_MS = 24 * 60 * 60_000;

/** The registry's own settings, beside the common ones. */
export const registrySettings = {
  enabledSources: text({ pattern: /^[a-z0-9-]+(?:,[a-z0-9-]+)*$/, kind: "source ids, separated by commas" })
    .optional()
    .doc("A sandbox's trust sources that the gateway may ask; elsewhere sources are registered and enabled."),
  ceremonyFile: filePath({ exists: false })
    .optional()
    .doc("Where the one-time code of the first administrators is written; absent: no ceremony."),
  registrationDays: integer({ min: 1, max: 365 })
    .default("30")
    .doc("Days until a registration that no counter confirms expires and is erased."),
  archiveDays: integer({ min: 0, max: 36_500 })
    .default("1095")
    .doc("Days that the encrypted archive of a cancelled account or organisation is kept."),
  reviewDays: integer({ min: 1, max: 366 })
    .default("92")
    .doc("Days until an operator's rights lapse unless they are reviewed: a quarter."),
} as const satisfies ConfigSpec;

export type RegistryConfig = ConfigOf<CommonSettings & typeof registrySettings>;

/** Throws ConfigError naming every setting that is wrong. */
export function readRegistryConfig(env: Readonly<Record<string, string | undefined>>): RegistryConfig {
  return readServiceConfig<typeof registrySettings>(env, registrySettings, [checkSources]);
}

/** SZ-12: nothing but SourceService enables a source of a production platform. */
function checkSources({ environment, enabledSources }: RegistryConfig): readonly ConfigProblem[] {
  if (environment === "sandbox" || enabledSources === undefined) return [];
  return [
    { name: "FUJIE_ENABLED_SOURCES", problem: "is a sandbox's: sources are registered and enabled by operators" },
  ];
}

/** The periods of the settings in milliseconds. */
export function periodsOf({ registrationDays, archiveDays, reviewDays }: RegistryConfig) {
  return { registrationMs: registrationDays * DAY_MS, archiveMs: archiveDays * DAY_MS, reviewMs: reviewDays * DAY_MS };
}
