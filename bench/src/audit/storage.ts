import { toBinary } from "@bufbuild/protobuf";
import { EventSchema } from "@fujie/api/fujie/audit/v1/ingest";
import { atMost, type Row } from "../suite.ts";
import { makeEvents, type Stage } from "./stage.ts";

const TARGET_WITHOUT_INDEXES = 1.5;
const TARGET_WITH_INDEXES = 3;

/** What an event takes on disk, against its bytes as it came. */
export async function measureStorage({ sealedDb }: Stage): Promise<Row[]> {
  const [event] = makeEvents(1);
  if (event === undefined) throw new Error("no event");
  const baseline = toBinary(EventSchema, event).length;
  const { rows } = await sealedDb.query<{ heap: number; total: number; entries: number }>({
    name: "bench.storage",
    text: `SELECT sum(pg_table_size(c.oid))::float8 AS heap, sum(pg_total_relation_size(c.oid))::float8 AS total,
             (SELECT size FROM audit.head)::float8 AS entries
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'audit' AND c.relkind = 'r'`,
    values: [],
  });
  const { heap, total, entries } = rows[0] ?? { heap: Number.NaN, total: Number.NaN, entries: Number.NaN };
  return [
    atMost(TARGET_WITHOUT_INDEXES, {
      measure: "storage of an event without indexes, against its bytes",
      value: heap / entries,
      unit: "B",
      baseline,
      bounds: "ratio",
    }),
    atMost(TARGET_WITH_INDEXES, {
      measure: "storage of an event with indexes, against its bytes",
      value: total / entries,
      unit: "B",
      baseline,
      bounds: "ratio",
    }),
  ];
}
