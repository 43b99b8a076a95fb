import {
  type CommonSettings,
  type ConfigOf,
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
    .doc("Trust sources that the gateway may ask; absent: none."),
  ceremonyFile: filePath({ exists: false })
    .optional()
    .doc("Where the one-time code of the first administrators is written; absent: no ceremony."),
  registrationDays: integer({ min: 1, max: 365 })
    .default("30")
    .doc("Days until a registration that no counter confirms expires and is erased."),
  archiveDays: integer({ min: 0, max: 36_500 })
    .default("1095")
    .doc("Days that the encrypted archive of a cancelled account is kept."),
  reviewDays: integer({ min: 1, max: 366 })
    .default("180")
    .doc("Days until an operator's rights lapse unless they are approved anew."),
} as const satisfies ConfigSpec;

export type RegistryConfig = ConfigOf<CommonSettings & typeof registrySettings>;

/** Throws ConfigError naming every setting that is wrong. */
export function readRegistryConfig(env: Readonly<Record<string, string | undefined>>): RegistryConfig {
  return readServiceConfig(env, registrySettings);
}

/** The periods of the settings in milliseconds. */
export function periodsOf({ registrationDays, archiveDays, reviewDays }: RegistryConfig) {
  return { registrationMs: registrationDays * DAY_MS, archiveMs: archiveDays * DAY_MS, reviewMs: reviewDays * DAY_MS };
}
