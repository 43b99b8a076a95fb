import {
  type CommonConfig,
  type ConfigProblem,
  filePath,
  flag,
  integer,
  readServiceConfig,
  text,
  url,
} from "@fujie/kit/config";
import { readWitnessesFile, WitnessesFileError } from "./witnessing/witnesses-file.ts";

const postgres = ["postgres", "postgresql"] as const;

export const settings = {
  keyDatabaseUrl: url({ protocols: postgres }).doc(
    "The database of the wrapped keys of details, apart from the service's own as its backups are; as its runtime role.",
  ),
  keyMigrationDatabaseUrl: url({ protocols: postgres }).optional().doc("The same as its owner; only for `migrate`."),
  keyDatabasePoolMax: integer({ min: 1, max: 500 }).default("8").doc("Connections to the key database at most."),
  logOrigin: text({
    // A C2SP origin: a URL without a scheme, and usable as the name of a key.
    pattern: /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?:\/[A-Za-z0-9._~-]+)*$/,
    kind: "origin of a log, such as log.example.cn/2026",
  })
    .default("fujie.audit/embedded")
    .doc("Name of the log in its checkpoints and signatures. It can never change once the log has begun."),
  witnessesFile: filePath({ exists: true })
    .optional()
    .doc("The witnesses that cosign the log's checkpoints, their addresses and keys (JSON); absent: unwitnessed."),
  retentionMonths: integer({ min: 7, max: 1_200 })
    .default("13")
    .doc("Months that entries are kept; the database itself lets nothing end before 184 days."),
  retentionExportedOnly: flag()
    .default("false")
    .doc("Whether entries end only after they were exported as a verifiable bundle."),
  authorityUrl: url({ protocols: ["https", "http"] })
    .optional()
    .doc("Where incident reports are sent to; absent: none is delivered, and the metrics say so."),
  authorityKeyFile: filePath({ exists: true })
    .optional()
    .doc("Public key (PEM) of the managing authority: with it, only a signed acknowledgement proves a delivery."),
  readEntriesPerHour: integer({ min: 100, max: 10_000_000 })
    .default("2000")
    .doc("Entries that one person may read within an hour; more needs the approval of another audit administrator."),
  egressAllowHosts: text({ pattern: /^[a-z0-9.:[\],-]{1,2000}$/, kind: "hosts, separated by commas" })
    .optional()
    .doc("Hosts of the authority that may be private or in clear text; absent: public https only."),
} as const;

export interface Config extends CommonConfig {
  readonly keyDatabaseUrl: string;
  readonly keyMigrationDatabaseUrl: string | undefined;
  readonly keyDatabasePoolMax: number;
  readonly logOrigin: string;
  readonly authorityUrl: string | undefined;
  readonly authorityKeyFile: string | undefined;
  readonly egressAllowHosts: string | undefined;
  readonly readEntriesPerHour: number;
  readonly witnessesFile: string | undefined;
  readonly retentionMonths: number;
  readonly retentionExportedOnly: boolean;
}

/** Throws ConfigError that names every setting that is missing, unknown or malformed. */
export function readAuditConfig(env: NodeJS.ProcessEnv): Config {
  return readServiceConfig(env, settings, [checkWitnesses, checkKeyDatabase]);
}

type Databases = Pick<Config, "environment" | "databaseUrl" | "keyDatabaseUrl">;

/** A backup of a server holds all its databases: keys beside what they open would come back with it. */
function checkKeyDatabase({ environment, databaseUrl, keyDatabaseUrl }: Databases): readonly ConfigProblem[] {
  const [own, keys] = [new URL(databaseUrl), new URL(keyDatabaseUrl)];
  const isSameServer = own.hostname === keys.hostname && (own.port || "5432") === (keys.port || "5432");
  const isSame = isSameServer && (environment === "production" || own.pathname === keys.pathname);
  if (!isSame) return [];
  const problem = "must be another database than FUJIE_DATABASE_URL, and in production on another server";
  return [{ name: "FUJIE_KEY_DATABASE_URL", problem }];
}

function checkWitnesses({ witnessesFile }: Pick<Config, "witnessesFile">): readonly ConfigProblem[] {
  try {
    if (witnessesFile !== undefined) readWitnessesFile(witnessesFile);
    return [];
  } catch (error) {
    if (error instanceof WitnessesFileError) return [{ name: "FUJIE_WITNESSES_FILE", problem: error.message }];
    throw error;
  }
}
