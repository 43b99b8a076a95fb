import { type CommonConfig, ConfigError } from "../config/index.ts";
import { migrate, roleOf } from "../db/index.ts";
import { createLogger } from "../log/index.ts";
import type { RunningServer } from "../serve/index.ts";

export interface MainOptions<Config extends CommonConfig> {
  readonly service: string;
  /** Reads and checks the settings; throws ConfigError. */
  readonly readConfig: (env: NodeJS.ProcessEnv) => Config;
  readonly migrationsDir: string;
  /** The database of the wrapped keys, where they are kept apart: its own migrations, and nothing of the kit's. */
  readonly keyDatabase?: { readonly migrationsDir: string; readonly urlsOf: (config: Config) => KeyDatabaseUrls };
  /** Imports the service only here: a migration, which runs before every start, does without it. */
  readonly start: (config: Config) => Promise<RunningServer>;
}

export interface KeyDatabaseUrls {
  readonly keyDatabaseUrl: string;
  /** Of the owner; only needed to migrate. */
  readonly keyMigrationDatabaseUrl: string | undefined;
}

const USAGE_EXIT_CODE = 2;

/**
 * The whole of a service's main.ts: `node main.ts` serves until SIGTERM, `node main.ts migrate` brings the schema up to
 * date as its owner, `node main.ts --check-config` only reads the settings.
 */
export async function runMain<Config extends CommonConfig>(options: MainOptions<Config>): Promise<void> {
  const [command, ...rest] = process.argv.slice(2);
  try {
    if (rest.length > 0) throw new ConfigError([{ name: rest.join(" "), problem: "not understood" }]);
    const config = options.readConfig(process.env);
    if (command === undefined) return await serveUntilStopped(options, config);
    if (command === "migrate") return await migrateSchema(options, config);
    if (command === "--check-config") return void process.stdout.write(`${options.service}: the settings are sound\n`);
    process.stderr.write(`usage: ${options.service} [migrate | --check-config]\n`);
    process.exitCode = USAGE_EXIT_CODE;
  } catch (error) {
    process.stderr.write(`${options.service}: ${describe(error)}\n`);
    process.exitCode = error instanceof ConfigError ? USAGE_EXIT_CODE : 1;
  }
}

async function serveUntilStopped<Config extends CommonConfig>(
  { start }: MainOptions<Config>,
  config: Config,
): Promise<void> {
  const server = await start(config);
  const { runUntilSignal } = await import("../serve/index.ts");
  // Started by the command line, we end with it: its channel closes however it ended.
  if (process.connected) {
    process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
    // Listening must not keep the process alive once it has drained.
    process.channel?.unref();
  }
  await runUntilSignal(server);
}

async function migrateSchema<Config extends CommonConfig>(
  { service, migrationsDir, keyDatabase }: MainOptions<Config>,
  config: Config,
): Promise<void> {
  const url = ownerUrl("FUJIE_MIGRATION_DATABASE_URL", config.migrationDatabaseUrl);
  const log = createLogger({ service, level: config.logLevel });
  if (keyDatabase !== undefined) {
    const { keyDatabaseUrl, keyMigrationDatabaseUrl } = keyDatabase.urlsOf(config);
    await migrate({
      url: ownerUrl("FUJIE_KEY_MIGRATION_DATABASE_URL", keyMigrationDatabaseUrl),
      dir: keyDatabase.migrationsDir,
      runtimeRole: roleOf(keyDatabaseUrl),
      withKit: false,
      log,
    });
  }
  await migrate({ url, dir: migrationsDir, runtimeRole: roleOf(config.databaseUrl), log });
}

function ownerUrl(name: string, url: string | undefined): string {
  if (url === undefined) throw new ConfigError([{ name, problem: "missing: needed to migrate" }]);
  return url;
}

/** Kind and message of a start-up error; connection strings and values never are in them. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return "failed to start";
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
