/**
 * Two databases with the audit service's tables: one with a log over it, and one without, which takes the same rows.
 * Both sides narrow the events, seal their details and write the rows in batches of at most 400, two under way; what
 * only the sealed side does is to look for known events, hash the leaves, grow the tree, move the head, sign and
 * publish checkpoints.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Event, EventSchema, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { systemClock } from "@fujie/kit/clock";
import { type Database, migrate, openDatabase, roleOf, transaction, uuidv7 } from "@fujie/kit/db";
import { type KeyRing, openFileKeyRing, provisionKeys } from "@fujie/kit/keys";
import { createLogger } from "@fujie/kit/log";
import { systemTimers } from "@fujie/kit/timers";
import { startThrowawayPostgres, testDatabase } from "../../../packages/embedded/src/testing.ts";
import { type Appender, createAppender } from "../../../services/audit/src/events/appender.ts";
import { narrowEvent } from "../../../services/audit/src/events/narrow-event.ts";
import { writeEntry } from "../../../services/audit/src/events/prepare-entry.ts";
import { openNameNumbers } from "../../../services/audit/src/log/names.ts";
import { openSequencer } from "../../../services/audit/src/log/sequencer.ts";
import { createPartitions, insertionOf, namesIn } from "../../../services/audit/src/log/store.ts";
import { keyMigrationsDir, migrationsDir } from "../../../services/audit/src/server.ts";
import { openSubjectKeys } from "../../../services/audit/src/subjects/subject-keys.ts";

const CALL_EVENTS = 200;
const CALLS_OUT = 8;
const BATCH = 400;
export const ORIGIN = "bench.example";
export const SERVICE = "bench";
const silent = createLogger({ service: "audit", level: "error", destination: { write: () => {} } });

export interface Stage extends AsyncDisposable {
  readonly sealedDb: Database;
  readonly sealedUrl: string;
  readonly plainDb: Database;
  readonly ring: KeyRing;
  readonly appender: Appender;
  /** As fast as it goes, many calls under way. */
  appendAll(events: readonly Event[]): Promise<void>;
  insertAll(events: readonly Event[]): Promise<void>;
  /** One call's rows in one transaction. */
  insertOnce(events: readonly Event[]): Promise<void>;
}

export async function openStage(): Promise<Stage> {
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
  const { db: sealedDb, url: sealedUrl } = await openBenchDatabase(stack);
  const { db: plainDb } = await openBenchDatabase(stack);
  const { db: keyDb } = await openBenchDatabase(stack, { dir: keyMigrationsDir, withKit: false });
  await createPartitions(plainDb, 1, 2 ** 22);
  const subjectKeys = openSubjectKeys({ db: sealedDb, keyDb, ring, clock: systemClock });
  const sequencer = stack.use(openSequencer({ db: sealedDb, ring, origin: ORIGIN, log: silent, timers: systemTimers }));
  while (!sequencer.isLeading()) await systemTimers.sleep(5);
  const appender = createAppender({ db: sealedDb, sequencer, subjectKeys });
  const names = openNameNumbers(plainDb);
  let inserted = 0;
  const insertPiece = async (piece: readonly Event[], begin: number): Promise<void> => {
    const narrowed = piece.map((event, position) => narrowEvent(event, position, SERVICE));
    const sealDetails = await subjectKeys.prepare(narrowed.map(({ keyOwner }) => keyOwner));
    const rows = narrowed.map((event) => ({ ...writeEntry(event, sealDetails), leafHash: new Uint8Array() }));
    const numbers = await names.of(namesIn(rows));
    // As ordinary programs do it: the commit goes after the answer.
    await transaction(plainDb, (tx) => tx.query(insertionOf(begin, rows, numbers)));
  };
  const take = (count: number): number => {
    inserted += count;
    return inserted - count;
  };
  const opened = stack.move();
  return {
    sealedDb,
    sealedUrl,
    plainDb,
    ring,
    appender,
    appendAll: (events) => inPieces(events, CALL_EVENTS, CALLS_OUT, (piece) => appender.append(SERVICE, piece)),
    insertAll: (events) => {
      const begin = take(events.length);
      return inPieces(events, BATCH, 2, (piece, at) => insertPiece(piece, begin + at));
    },
    insertOnce: (events) => insertPiece(events, take(events.length)),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function openBenchDatabase(
  stack: AsyncDisposableStack,
  migrations: { readonly dir: string; readonly withKit?: boolean } = { dir: migrationsDir },
): Promise<{ db: Database; url: string }> {
  const { ownerUrl, runtimeUrl, ...database } = await testDatabase();
  stack.defer(() => database[Symbol.asyncDispose]());
  await migrate({ url: ownerUrl, ...migrations, runtimeRole: roleOf(runtimeUrl), log: silent });
  const db = stack.use(openDatabase({ url: runtimeUrl, poolMax: 12, service: "audit" }));
  return { db, url: runtimeUrl };
}

export function makeEvents(count: number): Event[] {
  const nowMs = Date.now();
  return Array.from({ length: count }, (_, at) =>
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
