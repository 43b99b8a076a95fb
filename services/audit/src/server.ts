import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { AppendEventsRequestSchema, AppendEventsResponseSchema, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import type { KeyRing } from "@fujie/kit/keys";
import type { Deliver } from "@fujie/kit/outbox";
import { auditDestination } from "@fujie/kit/record";
import { openRuntime, type Runtime, type RuntimeOverrides, serve } from "@fujie/kit/runtime";
import { handler, type RunningServer } from "@fujie/kit/serve";
import type { Config } from "./config.ts";
import type { Context } from "./context.ts";
import { createAppender } from "./events/appender.ts";
import { ingestService } from "./events/rpc.ts";
import { openSequencer } from "./log/sequencer.ts";
import { proofMethods } from "./proofs/rpc.ts";
import { searchMethods } from "./search/rpc.ts";
import { openSubjectKeys } from "./subjects/subject-keys.ts";
import { serveTiles } from "./tiles/http.ts";
import { cached, tilesOf } from "./tiles/read-tiles.ts";

export const migrationsDir = join(import.meta.dirname, "../migrations");

/** The newest migration that this release uses. */
const SCHEMA_AT_LEAST = 1;
/** 32 MiB at most. */
const TILES_CACHED_MAX = 4_096;
/** A relay's batch of 256 events with their details fits well. */
const RECEIVE_BYTES_MAX = 4 * 1024 * 1024;

export interface Overrides extends RuntimeOverrides {
  /** Entries of one partition, for tests. */
  readonly partitionEntries?: number;
}

/** Starts audit. It is ready once it leads the log: a second replica stands by and takes over with the lock. */
export async function startAudit(config: Config, overrides: Overrides = {}): Promise<RunningServer> {
  // The relay asks for its destinations when it starts, which is when everything else is open.
  const opened = Promise.withResolvers<Context>();
  const runtime = await openRuntime({
    service: "audit",
    config,
    overrides,
    auditDestination: ({ ring }) => ownDestination(opened.promise, ring),
  });
  try {
    const context = openContext(runtime, config, overrides);
    opened.resolve(context);
    observe(runtime, context);
    return await serve(runtime, {
      handlers: [
        handler(IngestService, ingestService(context)),
        handler(LogService, { ...proofMethods(context), ...searchMethods(context) }),
      ],
      mountHttp: serveTiles(context),
      schemaAtLeast: SCHEMA_AT_LEAST,
      ready: [{ name: "sequencer", isReady: () => context.sequencer.isLeading() }],
      limits: { receiveBytesMax: RECEIVE_BYTES_MAX },
    });
  } catch (error) {
    await runtime[Symbol.asyncDispose]();
    throw error;
  }
}

function openContext(runtime: Runtime, config: Config, overrides: Overrides): Context {
  const { db, ring, clock, timers, log } = runtime;
  const { partitionEntries } = overrides;
  const sequencer = runtime.use(
    openSequencer({
      db,
      ring,
      origin: config.logOrigin,
      log,
      timers,
      ...(partitionEntries === undefined ? {} : { partitionEntries }),
    }),
  );
  const subjectKeys = openSubjectKeys({ db, ring, clock });
  const appender = createAppender({ db, sequencer, subjectKeys });
  return { clock, log, db, ring, subjectKeys, sequencer, appender, tiles: cached(tilesOf(db), TILES_CACHED_MAX) };
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
