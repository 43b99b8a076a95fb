import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { AnalysisService, CalendarService } from "@fujie/api/fujie/audit/v1/analysis";
import { CaseService } from "@fujie/api/fujie/audit/v1/cases";
import { IncidentService } from "@fujie/api/fujie/audit/v1/incidents";
import { AppendEventsRequestSchema, AppendEventsResponseSchema, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { ReconciliationService } from "@fujie/api/fujie/audit/v1/reconciliation";
import { RetentionService } from "@fujie/api/fujie/audit/v1/retention";
import { StatisticsService } from "@fujie/api/fujie/audit/v1/statistics";
import { openDatabase, schemaReadiness, startSweeps } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import type { Deliver } from "@fujie/kit/outbox";
import { auditDestination } from "@fujie/kit/record";
import { openRuntime, type Runtime, type RuntimeOverrides, serve } from "@fujie/kit/runtime";
import { handler, type ReadinessCheck, type RunningServer } from "@fujie/kit/serve";
import { analysisService } from "./analysis/rpc.ts";
import { calendarService } from "./calendar/rpc.ts";
import { caseService } from "./cases/rpc.ts";
import type { Config } from "./config.ts";
import type { Context } from "./context.ts";
import { type Duties, startDuties } from "./duties.ts";
import { createAppender } from "./events/appender.ts";
import { ingestService } from "./events/rpc.ts";
import { exportMethods } from "./export/rpc.ts";
import { openAuthority } from "./incidents/authority.ts";
import { incidentService } from "./incidents/rpc.ts";
import { openSequencer } from "./log/sequencer.ts";
import { proofMethods } from "./proofs/rpc.ts";
import { reconcile } from "./reconciliation/reconcile.ts";
import { reconciliationService } from "./reconciliation/rpc.ts";
import { holdMethods } from "./retention/rpc.ts";
import { createRetentionSweep } from "./retention/sweep.ts";
import { bulkMethods } from "./search/bulk.ts";
import { searchMethods } from "./search/rpc.ts";
import { serveStatistics } from "./statistics/http.ts";
import { statisticsService } from "./statistics/rpc.ts";
import { openSubjectKeys } from "./subjects/subject-keys.ts";
import { serveTiles } from "./tiles/http.ts";
import { cached, tilesOf } from "./tiles/read-tiles.ts";
import { startWitnessing } from "./witnessing/follow-up.ts";
import { readWitnessesFile } from "./witnessing/witnesses-file.ts";

export const migrationsDir = join(import.meta.dirname, "../migrations");
/** Of the key database. */
export const keyMigrationsDir = join(import.meta.dirname, "../migrations-keys");

/** The newest migration that this release uses. */
const SCHEMA_AT_LEAST = 5;
const KEY_SCHEMA_AT_LEAST = 1;
const ERASURES_EVERY_MS = 60_000;
const RETENTION_EVERY_MS = 60_000;
/** 32 MiB at most. */
const TILES_CACHED_MAX = 4_096;
/** A legal document of 3 MiB in base64, when it comes as JSON; a relay's batch of 256 events fits well. */
const RECEIVE_BYTES_MAX = 4.5 * 1024 * 1024;

export interface RunningAudit extends RunningServer, Duties {}

export interface Overrides extends RuntimeOverrides {
  /** Entries of one partition, for tests. */
  readonly partitionEntries?: number;
}

/** Starts audit. It is ready once it leads the log: a second replica stands by and takes over with the lock. */
export async function startAudit(config: Config, overrides: Overrides = {}): Promise<RunningAudit> {
  // The relay asks for its destinations when it starts, which is when everything else is open.
  const opened = Promise.withResolvers<Context>();
  const runtime = await openRuntime({
    service: "audit",
    config,
    overrides,
    auditDestination: ({ ring }) => ownDestination(opened.promise, ring),
    tellNumbers: async (numbers) => reconcile(await opened.promise, "audit", numbers),
  });
  try {
    const context = openContext(runtime, config, overrides);
    opened.resolve(context);
    observe(runtime, context);
    witness(runtime, context, config);
    retain(runtime, context, config);
    replayErasures(runtime, context);
    const duties = startDuties(runtime, context);
    const server = await serve(runtime, {
      handlers: [
        handler(IngestService, ingestService(context)),
        handler(LogService, { ...proofMethods(context), ...searchMethods(context), ...bulkMethods(context) }),
        handler(IncidentService, incidentService(context)),
        handler(AnalysisService, analysisService(context)),
        handler(CalendarService, calendarService(context)),
        handler(CaseService, caseService(context)),
        handler(StatisticsService, statisticsService(context)),
        handler(RetentionService, { ...holdMethods(context), ...exportMethods(context) }),
        handler(ReconciliationService, reconciliationService(context)),
      ],
      mountHttp: serveStatistics(context, serveTiles(context)),
      schemaAtLeast: SCHEMA_AT_LEAST,
      ready: [
        { name: "sequencer", isReady: () => context.sequencer.isLeading() },
        seenOnce({ ...schemaReadiness(context.keyDb, KEY_SCHEMA_AT_LEAST), name: "key-schema" }),
      ],
      limits: { receiveBytesMax: RECEIVE_BYTES_MAX },
    });
    return { ...server, ...duties };
  } catch (error) {
    await runtime[Symbol.asyncDispose]();
    throw error;
  }
}

function openContext(runtime: Runtime, config: Config, overrides: Overrides): Context {
  const { db, ring, clock, timers, log, telemetry } = runtime;
  const { partitionEntries } = overrides;
  const keyDb = runtime.use(
    openDatabase({
      url: config.keyDatabaseUrl,
      poolMax: config.keyDatabasePoolMax,
      service: "audit-keys",
      telemetry,
    }),
  );
  const sequencer = runtime.use(
    openSequencer({
      db,
      ring,
      origin: config.logOrigin,
      log,
      timers,
      clock,
      ...(partitionEntries === undefined ? {} : { partitionEntries }),
    }),
  );
  const subjectKeys = openSubjectKeys({ db, keyDb, ring, clock });
  const appender = createAppender({ db, sequencer, subjectKeys });
  const { logOrigin, readEntriesPerHour } = config;
  const authority = openAuthority(config);
  return {
    clock,
    logOrigin,
    readEntriesPerHour,
    authority,
    log,
    db,
    keyDb,
    ring,
    subjectKeys,
    sequencer,
    appender,
    tiles: cached(tilesOf(db), TILES_CACHED_MAX),
  };
}

/** Audit's own events, reads above all, go into its own log without a detour. */
function ownDestination(opened: Promise<Pick<Context, "appender">>, ring: KeyRing): Deliver {
  return auditDestination(
    {
      appendEvents: async (request) => {
        const { appender } = await opened;
        const indexes = await appender.append("audit", create(AppendEventsRequestSchema, request).events);
        return create(AppendEventsResponseSchema, { indexes: indexes.map(BigInt) });
      },
    },
    ring,
  );
}

function observe({ telemetry, use }: Runtime, { sequencer, appender }: Context): void {
  const gauge = (name: string, description: string, read: () => number) =>
    use(telemetry.observeGauge(name, description, read));
  gauge("fujie.audit.log.size", "Entries in the log, as its leader knows.", () => sequencer.size());
  gauge("fujie.audit.leading", "1 where this replica leads the log.", () => (sequencer.isLeading() ? 1 : 0));
  gauge("fujie.audit.events.waiting", "Events on their way into the log.", () => appender.waiting());
}

/** Brings checkpoints to the witnesses, if there are any. */
function witness(runtime: Runtime, { sequencer, tiles }: Context, { witnessesFile }: Config): void {
  const witnesses = witnessesFile === undefined ? [] : readWitnessesFile(witnessesFile);
  if (witnesses.length === 0) return;
  const { db, clock, timers, log, telemetry } = runtime;
  const isLeading = () => sequencer.isLeading();
  const witnessing = runtime.use(startWitnessing({ db, tiles, witnesses, isLeading, clock, timers, log }));
  const description = "For how long there have been entries that a witness has not cosigned, in milliseconds";
  for (const { verifier } of witnesses)
    runtime.use(
      telemetry.observeGauge("fujie.audit.witness.lag", description, () => witnessing.lagMs(verifier.name), {
        witness: verifier.name,
      }),
    );
}

/** Ends partitions that are past their time. */
function retain({ use, log, timers }: Runtime, context: Context, config: Config): void {
  const { retentionMonths: months, retentionExportedOnly: exportedOnly } = config;
  const sweep = createRetentionSweep(context, { months, exportedOnly });
  const retention = async () => (context.sequencer.isLeading() ? sweep() : 0);
  use(startSweeps({ tasks: { retention }, everyMs: RETENTION_EVERY_MS, batchMax: 1, log, timers }));
}

/** Carries out erasures that a restored key database forgot, on every replica: each reads details. */
function replayErasures({ use, log, timers }: Runtime, { subjectKeys }: Context): void {
  const erasures = async () => {
    await subjectKeys.replayErasures();
    return 0;
  };
  use(startSweeps({ tasks: { erasures }, everyMs: ERASURES_EVERY_MS, batchMax: 1, log, timers }));
}

/** A pod that never saw the key database takes no traffic; one that has goes on without it, since proofs need none. */
function seenOnce(check: ReadinessCheck): ReadinessCheck {
  let seen = false;
  return {
    name: check.name,
    isReady: async () => {
      seen ||= await check.isReady();
      return seen;
    },
  };
}
