/**
 * The audit log's search: how long an indexed question takes among many entries, a page of 50 at a time.
 * SEARCH_ENTRIES (default 1,000,000; the target is stated for 5,000,000) says how many are loaded.
 */
import { randomBytes, randomInt } from "node:crypto";
import { type Database, migrate, openDatabase, roleOf, transaction, uuidv7 } from "@fujie/kit/db";
import { createLogger } from "@fujie/kit/log";
import { startThrowawayPostgres, testDatabase } from "../../packages/embedded/src/testing.ts";
import { encodeEntry, type LogEntry } from "../../packages/transparency/src/index.ts";
import type { PreparedEntry } from "../../services/audit/src/log/entry.ts";
import { openNameNumbers } from "../../services/audit/src/log/names.ts";
import { createPartitions, namesIn, writeEntries } from "../../services/audit/src/log/store.ts";
import { findEntries, noConditions, type Question } from "../../services/audit/src/search/search.ts";
import { migrationsDir } from "../../services/audit/src/server.ts";
import { atMost, percentile, type Row, type SuiteResult } from "./suite.ts";

const TARGET_P99_MS = 50;
const ROUNDS = 400;
const PAGE = 50;
const BATCH = 4_000;
const PARTITION = 2 ** 20;
const START_MS = Date.UTC(2026, 0, 1);
/** As in a province: most people come a few times, few applications have nearly everything. */
const SUBJECTS = 200_000;
const OPERATORS = 500;
const APPLICATIONS = 40;
const TYPES = ["session.started", "session.ended", "verification.requested", "verification.decided", "consent.granted"];

export async function run(machine: string): Promise<SuiteResult> {
  await using stack = new AsyncDisposableStack();
  if (process.env["FUJIE_TEST_POSTGRES_URL"] === undefined) {
    const server = await startThrowawayPostgres();
    process.env["FUJIE_TEST_POSTGRES_URL"] = server.adminUrl;
    stack.defer(server.stop);
  }
  const db = await openSearchDatabase(stack);
  const entries = Number(process.env["SEARCH_ENTRIES"] ?? 1_000_000);
  if (!(Number.isInteger(entries) && entries >= 10_000 && entries <= 50_000_000))
    throw new Error("SEARCH_ENTRIES must be an integer from 10000 to 50000000");
  await load(db, entries);
  const rows: Row[] = [];
  for (const [name, ask] of Object.entries(questions)) rows.push(...(await measure(db, name, ask, entries)));
  return { suite: "search", machine, rows };
}

async function openSearchDatabase(stack: AsyncDisposableStack): Promise<Database> {
  const database = stack.use(await testDatabase());
  const log = createLogger({ service: "audit", level: "error", destination: { write: () => {} } });
  const runtimeRole = roleOf(database.runtimeUrl);
  await migrate({ url: database.ownerUrl, dir: migrationsDir, runtimeRole, log });
  return stack.use(
    openDatabase({ url: database.runtimeUrl, poolMax: 4, service: "bench", statementTimeoutMs: 60_000 }),
  );
}

async function load(db: Database, entries: number): Promise<void> {
  const names = openNameNumbers(db);
  let until = 0;
  for (let begin = 0; begin < entries; begin += BATCH) {
    const count = Math.min(BATCH, entries - begin);
    while (until < begin + count) until = await createPartitions(db, begin + count, PARTITION);
    const batch = Array.from({ length: count }, (_, offset) => prepare(begin + offset));
    const numbers = await names.of(namesIn(batch));
    await transaction(db, (tx) => writeEntries(tx, begin, batch, numbers));
  }
}

function prepare(index: number): PreparedEntry {
  const entry: LogEntry = {
    timeMs: START_MS + index * 40,
    service: "auth",
    eventId: uuidv7(START_MS + index * 40),
    type: TYPES[index % TYPES.length] ?? "",
    outcome: index % 50 === 0 ? "REFUSED" : "SUCCESS",
    actor: index % 20 === 0 ? `operator-${randomInt(OPERATORS)}` : `account-${randomInt(SUBJECTS)}`,
    subject: `account-${randomInt(SUBJECTS)}`,
    applicationId: `application-${Math.min(randomInt(APPLICATIONS), randomInt(APPLICATIONS))}`,
    organisationId: "",
    traceId: traceOf(Math.floor(index / 4)),
    purpose: "",
    reason: "",
    detailsSha256: new Uint8Array(),
    digest: new Uint8Array(),
  };
  const preimage = encodeEntry(entry);
  return { entry, preimage, salt: randomBytes(32), leafHash: new Uint8Array(32), details: undefined };
}

function traceOf(trace: number): string {
  return trace.toString(16).padStart(32, "0");
}

type Ask = (entries: number) => Question;

const questions: Readonly<Record<string, Ask>> = {
  trace: (entries) => ({ ...noConditions, key: "traceId", value: traceOf(randomInt(Math.ceil(entries / 4))) }),
  subject: () => ({ ...noConditions, key: "subject", value: `account-${randomInt(SUBJECTS)}` }),
  actor: () => ({ ...noConditions, key: "actor", value: `operator-${randomInt(OPERATORS)}` }),
  application: () => ({ ...noConditions, key: "applicationId", value: `application-${randomInt(APPLICATIONS)}` }),
  type: () => ({ ...noConditions, key: "type", value: TYPES[randomInt(TYPES.length)] ?? "" }),
  "subject in a time range": (entries) => {
    const startMs = START_MS + randomInt(entries) * 40;
    return {
      ...noConditions,
      key: "subject",
      value: `account-${randomInt(SUBJECTS)}`,
      startMs,
      endMs: startMs + 86_400_000,
    };
  },
  "application and refused": () => ({
    ...noConditions,
    key: "applicationId",
    value: `application-${randomInt(APPLICATIONS)}`,
    outcome: "REFUSED",
  }),
  "application and a type that it never has": () => ({
    ...noConditions,
    key: "applicationId",
    value: "application-0",
    typePrefix: "incident.",
  }),
};

async function measure(db: Database, name: string, ask: Ask, entries: number): Promise<Row[]> {
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    // From anywhere: a page in the middle of a long list costs what its first page costs.
    const before = 1 + randomInt(entries);
    const question = ask(entries);
    const started = performance.now();
    await findEntries(db, question, before, PAGE);
    took.push(performance.now() - started);
  }
  const measured = `page by ${name} among ${entries.toLocaleString("en")}`;
  return [
    atMost(TARGET_P99_MS, {
      measure: `${measured}, p50`,
      value: percentile(took, 0.5),
      unit: "ms",
      baseline: TARGET_P99_MS,
    }),
    atMost(TARGET_P99_MS, {
      measure: `${measured}, p99`,
      value: percentile(took, 0.99),
      unit: "ms",
      baseline: TARGET_P99_MS,
    }),
  ];
}
