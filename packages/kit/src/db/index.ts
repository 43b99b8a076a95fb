export {
  type Connection,
  type Copyable,
  type Database,
  type DatabaseOptions,
  openDatabase,
  type Queryable,
  type QueryResult,
  type Statement,
  statement,
  type Transaction,
  type TransactionOptions,
  transaction,
} from "./database.ts";
export { isUniqueViolation } from "./database-error.ts";
export {
  type MigrateOptions,
  MigrationError,
  type MigrationReason,
  migrate,
  newestMigration,
  roleOf,
  schemaReadiness,
  schemaVersion,
} from "./migrate.ts";
export {
  claimRequests,
  describeClaim,
  type OnceOptions,
  once,
  purgeRequests,
  type RequestClaim,
  releaseRequests,
  replayRequest,
} from "./once.ts";
export { type Cursor, openPage, type Page, pageSize, signPage } from "./page-token.ts";
export { type SweepOptions, type SweepTask, startSweeps } from "./sweep.ts";
export { isUuid, uuidv7 } from "./uuid.ts";
