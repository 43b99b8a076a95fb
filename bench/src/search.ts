/**
 * The audit log's search among 5,000,000 entries (SEARCH_ENTRIES says otherwise): how long each indexed question takes,
 * a page of 50 at a time; and how PostgreSQL would answer it among 500,000,000.
 */
import { randomInt } from "node:crypto";
import { type Database, migrate, openDatabase, type Queryable, roleOf } from "@fujie/kit/db";
import { createLogger } from "@fujie/kit/log";
import { startThrowawayPostgres, testDatabase } from "../../packages/embedded/src/testing.ts";
import { openNameNumbers } from "../../services/audit/src/log/names.ts";
import { createPartitions } from "../../services/audit/src/log/store.ts";
import { findEntries, noConditions, type Question } from "../../services/audit/src/search/search.ts";
import { findTypeNumbers, windowStatement } from "../../services/audit/src/search/store.ts";
import { migrationsDir } from "../../services/audit/src/server.ts";
import { atMost, percentile, type Row, type SuiteResult } from "./suite.ts";

const TARGET_P99_MS = 50;
const ENTRIES = 5_000_000;
const CLAIMED = 500_000_000;
const ROUNDS = 400;
const PAGE = 50;
const LOADED_AT_ONCE = 250_000;
const PARTITION = 2 ** 20;
const START_MS = Date.UTC(2026, 0, 1);
const EVERY_MS = 40;
/** As in a province: most people come a few times, some often; few applications have nearly everything. */
const SUBJECTS = 200_000;
const OPERATORS = 500;
const APPLICATIONS = 40;
const TYPES = ["session.started", "session.ended", "verification.requested", "verification.decided", "consent.granted"];
const SERVICE = "auth";

export async function run(machine: string): Promise<SuiteResult> {
  await using stack = new AsyncDisposableStack();
  if (process.env["FUJIE_TEST_POSTGRES_URL"] === undefined) {
    const server = await startThrowawayPostgres();
    process.env["FUJIE_TEST_POSTGRES_URL"] = server.adminUrl;
    stack.defer(server.stop);
  }
  const entries = Number(process.env["SEARCH_ENTRIES"] ?? ENTRIES);
  if (!(Number.isInteger(entries) && entries >= 10_000 && entries <= 50_000_000))
    throw new Error("SEARCH_ENTRIES must be an integer from 10000 to 50000000");
  const { db, superuser } = await openSearchDatabases(stack);
  const started = performance.now();
  await load(db, superuser, entries);
  const loadedS = Math.round((performance.now() - started) / 1_000);
  process.stdout.write(`loaded ${entries.toLocaleString("en")} entries in ${loadedS} s\n`);
  const rows: Row[] = [];
  for (const [name, { ask }] of Object.entries(questions)) rows.push(await measure(db, name, ask, entries));
  rows.push(await checkPlans(db, superuser, entries));
  return { suite: "search", machine, rows };
}

async function openSearchDatabases(stack: AsyncDisposableStack): Promise<{ db: Database; superuser: Database }> {
  const { url, ownerUrl, runtimeUrl, ...database } = await testDatabase();
  stack.defer(() => database[Symbol.asyncDispose]());
  const log = createLogger({ service: "audit", level: "error", destination: { write: () => {} } });
  await migrate({ url: ownerUrl, dir: migrationsDir, runtimeRole: roleOf(runtimeUrl), log });
  const db = stack.use(openDatabase({ url: runtimeUrl, poolMax: 4, service: "bench", statementTimeoutMs: 60_000 }));
  const superuser = stack.use(openDatabase({ url, poolMax: 1, service: "bench", statementTimeoutMs: 1_800_000 }));
  return { db, superuser };
}

// Loading

/**
 * Entries as PostgreSQL makes them itself, straight into the partitions. The indexes of the search are built afterwards,
 * from their own definitions: an index that grew row by row is larger by about a third, but not deeper.
 */
async function load(db: Database, superuser: Database, entries: number): Promise<void> {
  for (let until = 0; until < entries; ) until = await createPartitions(db, entries, PARTITION);
  const numbers = await openNameNumbers(db).of([SERVICE, ...TYPES]);
  const indexes = await superuser.query<{ name: string; definition: string }>(
    `SELECT indexname AS name, indexdef AS definition FROM pg_indexes
     WHERE schemaname = 'audit' AND tablename = 'entry' AND indexname <> 'entry_pkey'`,
  );
  if (indexes.rows.length < 5) throw new Error("the log's indexes have other names");
  for (const { name } of indexes.rows) await superuser.query(`DROP INDEX audit.${name}`);
  for (let begin = 0; begin < entries; begin += LOADED_AT_ONCE)
    await superuser.query({
      text: makeEntries,
      values: [
        begin,
        Math.min(entries, begin + LOADED_AT_ONCE) - 1,
        numbers.get(SERVICE),
        TYPES.map((type) => numbers.get(type)),
      ],
    });
  await superuser.query("SET maintenance_work_mem = '512MB'");
  // Each on the parent, as the migration has it: an index on the parent only would reach no partition.
  for (const { definition } of indexes.rows) await superuser.query(definition.replace(" ON ONLY ", " ON "));
  await superuser.query("VACUUM (ANALYZE) audit.entry");
}

const idOf = (number: string) => `'\\x0198c0de00007000'::bytea || int8send(${number})`;
const makeEntries = `
  INSERT INTO audit.entry (index, time_ms, service, type, event_id, outcome, actor, subject, application_id,
    organisation_id, trace_id, purpose, reason, digest, salt, details, details_key)
  SELECT i, ${START_MS} + i * ${EVERY_MS}, $3::int, ($4::int[])[1 + i % ${TYPES.length}],
    encode(${idOf("i")}, 'hex')::uuid, CASE WHEN i % 50 = 0 THEN 'R' ELSE 'S' END::"char",
    CASE WHEN i % 20 = 0 THEN ${idOf(`floor(a * ${OPERATORS})::bigint`)} ELSE ${idOf("subject")} END, ${idOf("subject")},
    ${idOf(`floor(least(b, c) * ${APPLICATIONS})::bigint`)}, '', int8send(0) || int8send(i / 4), '', '', '',
    sha256(int8send(i)), sha256(int8send(-i)) || int8send(i), gen_random_uuid()
  FROM (
    SELECT i, random() AS a, random() AS b, random() AS c, floor(power(random(), 2) * ${SUBJECTS})::bigint AS subject
    FROM generate_series($1::bigint, $2::bigint) AS i OFFSET 0
  ) AS drawn`;

function idText(number: number): string {
  return `0198c0de-0000-7000-${number
    .toString(16)
    .padStart(16, "0")
    .replace(/^(.{4})/, "$1-")}`;
}

function traceText(trace: number): string {
  return trace.toString(16).padStart(32, "0");
}

// Questions

type Ask = (entries: number) => Question;

interface Indexed {
  readonly ask: Ask;
  /** The column whose index answers it. */
  readonly column: string;
}

const draw = {
  subject: () => idText(Math.floor(Math.random() ** 2 * SUBJECTS)),
  operator: () => idText(randomInt(OPERATORS)),
  application: () => idText(randomInt(APPLICATIONS)),
  type: () => TYPES[randomInt(TYPES.length)] ?? "",
};

const questions: Readonly<Record<string, Indexed>> = {
  trace: {
    column: "trace_id",
    ask: (entries) => ({ ...noConditions, key: "traceId", value: traceText(randomInt(Math.ceil(entries / 4))) }),
  },
  subject: { column: "subject", ask: () => ({ ...noConditions, key: "subject", value: draw.subject() }) },
  actor: { column: "actor", ask: () => ({ ...noConditions, key: "actor", value: draw.operator() }) },
  application: {
    column: "application_id",
    ask: () => ({ ...noConditions, key: "applicationId", value: draw.application() }),
  },
  type: { column: "type", ask: () => ({ ...noConditions, key: "type", value: draw.type() }) },
  "subject in a day": {
    column: "subject",
    ask: (entries) => {
      const startMs = START_MS + randomInt(entries) * EVERY_MS;
      return { ...noConditions, key: "subject", value: draw.subject(), startMs, endMs: startMs + 86_400_000 };
    },
  },
  "subject and application": {
    column: "subject",
    ask: () => ({ ...noConditions, key: "subject", value: draw.subject(), applicationId: draw.application() }),
  },
  "application and refused": {
    column: "application_id",
    ask: () => ({ ...noConditions, key: "applicationId", value: draw.application(), outcome: "REFUSED" }),
  },
  "application and a type that it never has": {
    column: "application_id",
    ask: () => ({ ...noConditions, key: "applicationId", value: idText(0), typePrefix: "incident." }),
  },
  "actor whom nobody knows": {
    column: "actor",
    ask: () => ({ ...noConditions, key: "actor", value: idText(SUBJECTS + randomInt(SUBJECTS)) }),
  },
};

async function measure(db: Database, name: string, ask: Ask, entries: number): Promise<Row> {
  const took: number[] = [];
  let found = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    // From anywhere: a page in the middle of a long list costs what its first page costs.
    const before = 1 + randomInt(entries);
    const question = ask(entries);
    const started = performance.now();
    const page = await findEntries(db, question, before, PAGE);
    took.push(performance.now() - started);
    found += page.entries.length;
  }
  return atMost(TARGET_P99_MS, {
    measure: `page by ${name} among ${entries.toLocaleString("en")}, p99`,
    value: percentile(took, 0.99),
    unit: "ms",
    baseline: TARGET_P99_MS,
    notes: [`p50 ${percentile(took, 0.5).toFixed(2)} ms, ${(found / ROUNDS).toFixed(1)} entries a page`],
  });
}

// Plans

interface Plan {
  readonly "Node Type": string;
  readonly "Index Cond"?: string;
  readonly "Plan Rows": number;
  readonly Plans?: readonly Plan[];
}

/**
 * The planner reckons a table's rows as its rows per page at the last ANALYZE times its pages now. So the partitions are
 * made to claim 500 million entries by raising their rows per page, with the real distribution of the columns beside it.
 */
async function checkPlans(db: Database, superuser: Database, entries: number): Promise<Row> {
  await superuser.query({
    text: `UPDATE pg_class SET reltuples = reltuples * $1::float4 WHERE oid IN (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit.entry'::regclass
        UNION ALL SELECT i.indexrelid FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indrelid
          WHERE h.inhparent = 'audit.entry'::regclass)`,
    values: [CLAIMED / entries],
  });
  const whole = await explain(superuser, { text: "SELECT FROM audit.entry", values: [] });
  if (whole["Plan Rows"] < 0.9 * CLAIMED)
    throw new Error("the planner does not believe that there are so many entries");
  const notes: string[] = [];
  for (const [name, { ask, column }] of Object.entries(questions)) {
    const question = ask(entries);
    const types = await findTypeNumbers(db, question);
    const statement = windowStatement({ ...question, before: entries, window: PAGE + 1 }, types);
    // With the values, and the one plan for all values that a session may change to after five executions.
    const plans = {
      "with its values": await explain(superuser, statement),
      "for all values": await explain(superuser, { text: statement.text }),
    };
    for (const [kind, plan] of Object.entries(plans))
      if (!isByIndex(plan, column)) notes.push(`${name}, ${kind}: not by its index alone`);
  }
  const plans = 2 * Object.keys(questions).length;
  const byIndex = plans - notes.length;
  return {
    measure: `plans by the index of the question, as of ${CLAIMED.toLocaleString("en")} entries`,
    value: byIndex,
    unit: "plans",
    baseline: plans,
    ratio: byIndex / plans,
    target: 1,
    ok: byIndex === plans,
    notes: [
      `the statistics (pg_class.reltuples) of ${entries.toLocaleString("en")} real entries claim a hundredfold and more;` +
        " pages and tree heights stay the real ones, so that reading a whole table looks cheaper than it would be",
      ...notes,
    ],
  };
}

/** Without values: the plan for all values. */
async function explain(
  superuser: Queryable,
  { text, values }: { readonly text: string; readonly values?: readonly unknown[] },
): Promise<Plan> {
  const generic = values === undefined ? "GENERIC_PLAN, " : "";
  const { rows } = await superuser.query<{ "QUERY PLAN": { Plan: Plan }[] }>({
    text: `EXPLAIN (${generic}FORMAT json) ${text}`,
    values: values ?? [],
  });
  const plan = rows[0]?.["QUERY PLAN"][0]?.Plan;
  if (plan === undefined) throw new Error("no plan");
  return plan;
}

/** Whether every table that the plan reads is read by the column's index, in its order: nothing is sorted or scanned. */
function isByIndex(plan: Plan, column: string): boolean {
  const { Plans: below = [] } = plan;
  if (below.length > 0)
    return (
      /^(Limit|Append|Merge Append|Result)$/.test(plan["Node Type"]) && below.every((each) => isByIndex(each, column))
    );
  return plan["Node Type"] === "Index Scan" && (plan["Index Cond"] ?? "").includes(`(${column} = `);
}
