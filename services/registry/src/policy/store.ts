import { type Queryable, statement, type Transaction } from "@fujie/kit/db";

export interface SourceRow {
  readonly sourceId: string;
  readonly enabled: boolean;
  readonly rateLimitPerSecond: number;
  readonly dailyLimit: number;
}

export interface MaintenanceRow {
  readonly sourceId: string;
  readonly start: Date;
  readonly end: Date;
}

const increment = statement("policy.bump", `UPDATE policy SET version = version + 1`);
const raise = statement("policy.raise", `UPDATE policy SET version = $1 WHERE version < $1`);
const selectVersion = statement("policy.version", `SELECT version::float8 AS version FROM policy`);
const selectSources = statement(
  "policy.sources",
  `SELECT source_id AS "sourceId", enabled, rate_limit_per_second AS "rateLimitPerSecond", daily_limit AS "dailyLimit"
   FROM source ORDER BY source_id LIMIT 1000`,
);
const selectMaintenance = statement(
  "policy.maintenance",
  `SELECT source_id AS "sourceId", start_at AS start, end_at AS "end" FROM source_maintenance
   WHERE end_at > $1 ORDER BY source_id, start_at LIMIT 64000`,
);
const upsertSources = statement(
  "policy.set-sources",
  `WITH wanted AS (SELECT unnest($1::text[]) AS source_id),
   stopped AS (
     UPDATE source SET enabled = false
     WHERE enabled AND kind IS NULL AND source_id NOT IN (SELECT source_id FROM wanted) RETURNING 1
   ), started AS (
     INSERT INTO source AS s (source_id, enabled) SELECT source_id, true FROM wanted
     ON CONFLICT (source_id) DO UPDATE SET enabled = true WHERE NOT s.enabled AND s.kind IS NULL RETURNING 1
   ) SELECT (SELECT count(*) FROM stopped)::integer + (SELECT count(*) FROM started)::integer AS changed`,
);

/** What the gateway is told has changed: it is told again as soon as this commits. */
export async function bumpPolicy(tx: Transaction): Promise<void> {
  await tx.query(increment());
  tx.announce("policy");
}

/** The gateway knows a newer version than this database, which was restored from an old backup: goes beyond it. */
export async function raisePolicyVersion(db: Queryable, version: number): Promise<void> {
  await db.query(raise(version));
}

export async function readPolicyVersion(db: Queryable): Promise<number> {
  const version = (await db.query<{ version: number }>(selectVersion())).rows[0]?.version;
  if (version === undefined) throw new Error("the policy has no version");
  return version;
}

export async function readSources(db: Queryable): Promise<SourceRow[]> {
  return (await db.query<{ [K in keyof SourceRow]: SourceRow[K] }>(selectSources())).rows;
}

/** Maintenance that is not over. */
export async function readMaintenance(db: Queryable, now: Date): Promise<MaintenanceRow[]> {
  return (await db.query<{ [K in keyof MaintenanceRow]: MaintenanceRow[K] }>(selectMaintenance(now))).rows;
}

/**
 * Enables exactly these sources of a sandbox's setting; one that is known and not named is disabled. What was registered
 * is not touched. Returns how many changed.
 */
export async function setEnabledSources(tx: Transaction, ids: readonly string[]): Promise<number> {
  return (await tx.query<{ changed: number }>(upsertSources(ids))).rows[0]?.changed ?? 0;
}
