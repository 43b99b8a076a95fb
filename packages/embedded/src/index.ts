export { closeKeeper, type DatabaseRole, type DatabaseSpec, ensureDatabase, keeperOf } from "./database.ts";
export { EmbeddedError, type EmbeddedReason } from "./errors.ts";
export { type EmbeddedPostgres, type PostgresOptions, startPostgres, throwawaySettings } from "./postgres.ts";
