import assert from "node:assert/strict";
import { test } from "node:test";
import type { Database, Queryable } from "@fujie/kit/db";
import { noConditions } from "../src/search/search.ts";
import { type SearchKey, type WindowSearch, windowStatement } from "../src/search/store.ts";
import { openTestLog, usePostgres } from "./fixture.ts";

usePostgres();

const PARTITIONS = 4;
const WIDTH = 1_024;
const ENTRIES = PARTITIONS * WIDTH;
const CLAIMED = 500_000_000;

interface Plan {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly "Scan Direction"?: string;
  readonly "Plan Rows": number;
  readonly Plans?: readonly Plan[];
}

/*
 * The planner reckons a table's rows as its rows per page at the last ANALYZE times its pages now. So a partition of a
 * few thousand real rows is made to claim 125 million by raising the rows per page in pg_class, with the real
 * distribution of the columns beside it: row estimates are those of 500 million entries, spread over the partitions.
 * What this cannot show is the time: pages and tree heights stay those of the small table. The bench suite "search"
 * measures the time on real rows.
 */
async function claimMillions(superuser: Database): Promise<void> {
  await superuser.query(`SELECT audit.ensure_entry_partitions(${ENTRIES}, ${WIDTH})`);
  await superuser.query(
    `INSERT INTO audit.entry (index, time_ms, service, type, event_id, outcome, actor, subject, application_id,
       organisation_id, trace_id, purpose, reason, digest, salt)
     SELECT i, 1700000000000 + i * 10, 1, i % 40, md5(i::text)::uuid, 'S', convert_to('actor-' || (i % 211), 'UTF8'),
       convert_to('subject-' || (i % 397), 'UTF8'), convert_to('application-' || (i % 23), 'UTF8'), '',
       decode(md5((i / 4)::text), 'hex'), '', '', '', decode(repeat('00', 32), 'hex')
     FROM generate_series(0, ${ENTRIES - 1}) AS i`,
  );
  await superuser.query("ANALYZE audit.entry");
  const connection = await superuser.connect();
  await connection.query("SET allow_system_table_mods = on");
  await connection.query(
    `UPDATE pg_class SET reltuples = ${CLAIMED / PARTITIONS} FROM pg_inherits
     WHERE inhrelid = pg_class.oid AND inhparent = 'audit.entry'::regclass`,
  );
  connection.release(true);
}

function leaves(plan: Plan): readonly Plan[] {
  return plan.Plans === undefined ? [plan] : plan.Plans.flatMap(leaves);
}

function nodes(plan: Plan): readonly Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodes)];
}

const questions: Readonly<Record<SearchKey, string>> = {
  traceId: "c4ca4238a0b923820dcc509a6f75849b",
  subject: "subject-17",
  actor: "actor-17",
  applicationId: "application-3",
  type: "type-3",
};
const TYPES = { value: 3, type: 3, withPrefix: [1, 2, 3] };
const columnOf = {
  traceId: "trace_id",
  subject: "subject",
  actor: "actor",
  applicationId: "application_id",
  type: "type",
};

async function explain(db: Queryable, statement: string): Promise<Plan> {
  const { rows } = await db.query<{ "QUERY PLAN": { Plan: Plan }[] }>(`EXPLAIN (FORMAT JSON) ${statement}`);
  const plan = rows[0]?.["QUERY PLAN"][0]?.Plan;
  assert.ok(plan);
  return plan;
}

function literalOf(value: unknown): string {
  if (Buffer.isBuffer(value)) return `'\\x${value.toString("hex")}'`;
  if (Array.isArray(value)) return `'{${value.join(",")}}'`;
  return value === null || typeof value === "number" ? String(value) : `'${String(value)}'`;
}

test("every indexed question walks the index of its own column backwards in each partition, at 500 million entries", async (t) => {
  const log = await openTestLog(t);
  await claimMillions(log.superuser());
  const connection = await log.db.connect();
  try {
    const whole = await explain(connection, "SELECT index FROM audit.entry");
    assert.ok(whole["Plan Rows"] > CLAIMED * 0.9, "the planner believes it");
    for (const key of ["traceId", "subject", "actor", "applicationId", "type"] as const) {
      await checkPlan(connection, key);
    }
    await checkPruning(connection);
  } finally {
    connection.release(true);
  }
});

async function checkPlan(connection: Queryable, key: SearchKey): Promise<void> {
  const search: WindowSearch = {
    ...noConditions,
    key,
    value: questions[key],
    before: ENTRIES - 100,
    window: 201,
    startMs: 1_700_000_000_000,
    endMs: 1_700_000_100_000,
    typePrefix: "type",
    outcome: "REFUSED",
  };
  const { text, values = [] } = windowStatement(search, TYPES);
  const name = `plan_${columnOf[key]}`;
  const execute = `EXECUTE ${name} (${values.map(literalOf).join(", ")})`;
  await connection.query(`PREPARE ${name} AS ${text}`);
  // As in the service's sessions: after five executions the planner may change to one plan for all values.
  for (let execution = 0; execution < 6; execution += 1) await connection.query(execute);
  const plan = await explain(connection, execute);
  const kinds = new Set(nodes(plan).map((node) => node["Node Type"]));
  for (const forbidden of ["Seq Scan", "Sort", "Incremental Sort", "Bitmap Heap Scan", "Gather", "Gather Merge"])
    assert.ok(!kinds.has(forbidden), `${key}: ${forbidden}`);
  assert.equal(leaves(plan).length, PARTITIONS, key);
  for (const leaf of leaves(plan)) {
    assert.equal(leaf["Node Type"], "Index Scan", key);
    assert.equal(leaf["Scan Direction"], "Backward", key);
    assert.match(leaf["Index Cond"] ?? "", new RegExp(`\\(${columnOf[key]} = `), key);
  }
}

/** What lies below an index leaves newer partitions alone. */
async function checkPruning(connection: Queryable): Promise<void> {
  const older = { ...noConditions, key: "subject", value: "subject-17", before: 2 * WIDTH, window: 51 } as const;
  const { text, values = [] } = windowStatement(older, {});
  const plan = await explain(
    connection,
    text.replace(/\$(\d+)/g, (_all, at: string) => literalOf(values[Number(at) - 1])),
  );
  assert.equal(leaves(plan).length, 2);
}
