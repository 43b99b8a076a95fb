/**
 * Sealed appends against plain batched inserts of the same bytes into the same tables. Both sides narrow the events,
 * seal their details and write the rows in batches of at most 400, two under way; what only the sealed side does is
 * to look for known events, hash the leaves, grow the tree, move the head, sign and publish checkpoints.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Event, EventSchema, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { systemClock } from "@fujie/kit/clock";
import { type Database, migrate, openDatabase, roleOf, transaction, uuidv7 } from "@fujie/kit/db";
import { openFileKeyRing, provisionKeys } from "@fujie/kit/keys";
import { createLogger } from "@fujie/kit/log";
import { systemTimers } from "@fujie/kit/timers";
import { startThrowawayPostgres, testDatabase } from "../../packages/embedded/src/testing.ts";
import { createAppender } from "../../services/audit/src/events/appender.ts";
import { narrowEvent } from "../../services/audit/src/events/narrow-event.ts";
import { writeEntry } from "../../services/audit/src/events/prepare-entry.ts";
import { openSequencer } from "../../services/audit/src/log/sequencer.ts";
import { createPartitions, writeEntries } from "../../services/audit/src/log/store.ts";
import { migrationsDir } from "../../services/audit/src/server.ts";
import { openSubjectKeys, type SubjectKeys } from "../../services/audit/src/subjects/subject-keys.ts";
import { median, type SuiteResult } from "./suite.ts";

const ROUNDS = 5;
const EVENTS = 16_000;
const CALL_EVENTS = 200;
const CALLS_OUT = 8;
const BATCH = 400;
const TARGET = 0.8;
const silent = createLogger({ service: "audit", level: "error", destination: { write: () => {} } });

export async function run(machine: string): Promise<SuiteResult> {
  await using stack = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "fujie-bench-audit-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  if (process.env["FUJIE_TEST_POSTGRES_URL"] === undefined) {
    const server = await startThrowawayPostgres();
    process.env["FUJIE_TEST_POSTGRES_URL"] = server.adminUrl;
    stack.defer(server.stop);
  }
  const keys = provisionKeys({ rootDir: folder, services: ["audit"] });
  const ring = stack.use(openFileKeyRing(keys.keysDir("audit"), { service: "audit" }));
  const sealedDb = await openBenchDatabase(stack);
  const plainDb = await openBenchDatabase(stack);
  await createPartitions(plainDb, 1, 2 ** 22);
  const subjectKeys = openSubjectKeys({ db: sealedDb, ring, clock: systemClock });
  const sequencer = stack.use(
    openSequencer({ db: sealedDb, ring, origin: "bench.example", log: silent, timers: systemTimers }),
  );
  while (!sequencer.isLeading()) await systemTimers.sleep(5);
  const appender = createAppender({ db: sealedDb, sequencer, subjectKeys });

  const rounds: { sealed: number; plain: number }[] = [];
  let begin = 0;
  for (let round = -1; round < ROUNDS; round++) {
    const events = makeEvents();
    const others = makeEvents();
    const measured = { sealed: 0, plain: 0 };
    const sides = [
      async () => {
        measured.sealed = await eventsPerSecond(() => appendSealed(appender, events));
      },
      async () => {
        measured.plain = await eventsPerSecond(() => insertPlain(plainDb, subjectKeys, begin, others));
      },
    ];
    // Interleaved, each side first in turn; the first round only warms up.
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side();
    begin += EVENTS;
    if (round >= 0) rounds.push(measured);
  }
  const ratio = median(rounds.map(({ sealed, plain }) => sealed / plain));
  const row = {
    measure: "sealed appends against plain batched inserts",
    value: median(rounds.map(({ sealed }) => sealed)),
    unit: "events/s",
    baseline: median(rounds.map(({ plain }) => plain)),
    ratio,
    target: TARGET,
    ok: ratio >= TARGET,
  };
  return { suite: "audit", machine, rows: [row] };
}

async function openBenchDatabase(stack: AsyncDisposableStack): Promise<Database> {
  const { ownerUrl, runtimeUrl, ...database } = await testDatabase();
  stack.defer(() => database[Symbol.asyncDispose]());
  await migrate({ url: ownerUrl, dir: migrationsDir, runtimeRole: roleOf(runtimeUrl), log: silent });
  return stack.use(openDatabase({ url: runtimeUrl, poolMax: 12, service: "audit" }));
}

function makeEvents(): Event[] {
  const nowMs = Date.now();
  return Array.from({ length: EVENTS }, (_, at) =>
    create(EventSchema, {
      eventId: uuidv7(nowMs + at),
      time: timestampFromMs(nowMs),
      type: "verification.decided",
      outcome: Outcome.SUCCESS,
      actor: "0198c0de-0000-7000-8000-000000000001",
      subject: `0198c0de-0000-7000-8000-${String(at % 500).padStart(12, "0")}`,
      applicationId: "0198c0de-0000-7000-8000-000000000003",
      traceId: uuidv7(nowMs).replaceAll("-", ""),
      details: { source: "population-base" },
    }),
  );
}

async function eventsPerSecond(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (EVENTS * 1_000) / (performance.now() - started);
}

async function appendSealed(appender: ReturnType<typeof createAppender>, events: readonly Event[]): Promise<void> {
  await inPieces(events, CALL_EVENTS, CALLS_OUT, (piece) => appender.append("bench", piece));
}

async function insertPlain(db: Database, keys: SubjectKeys, begin: number, events: readonly Event[]): Promise<void> {
  await inPieces(events, BATCH, 2, async (piece, at) => {
    const narrowed = piece.map((event, position) => narrowEvent(event, position, "bench"));
    const sealDetails = await keys.prepare(narrowed.map(({ keyOwner }) => keyOwner));
    const rows = narrowed.map((event) => ({ ...writeEntry(event, sealDetails), leafHash: new Uint8Array() }));
    await transaction(db, (tx) => writeEntries(tx, begin + at, rows));
  });
}

async function inPieces<Item>(
  items: readonly Item[],
  size: number,
  out: number,
  work: (piece: readonly Item[], at: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const workers = Array.from({ length: out }, async () => {
    while (next < items.length) {
      const at = next;
      next += size;
      await work(items.slice(at, at + size), at);
    }
  });
  await Promise.all(workers);
}
