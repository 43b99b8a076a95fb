import assert from "node:assert/strict";
import { test } from "node:test";
import { testDatabase } from "@fujie/embedded/testing";
import { DomainError } from "../errors/index.ts";
import { openDatabase, statement, transaction } from "./index.ts";

const series = statement(
  "test.series",
  "SELECT i, repeat('x', $3) FROM generate_series($1::int, $2::int) AS i ORDER BY i",
);

/** Number and length of the text of each row of a COPY in binary form. */
function rowsOf(copied: Buffer): [number: number, textBytes: number][] {
  const rows: [number, number][] = [];
  let at = 19;
  for (; copied.readInt16BE(at) === 2; at += 14 + (rows.at(-1)?.[1] ?? 0))
    rows.push([copied.readInt32BE(at + 6), copied.readInt32BE(at + 10)]);
  assert.equal(copied.readInt16BE(at), -1);
  assert.equal(at + 2, copied.length);
  return rows;
}

test("rows are copied out whole and in order, side by side with other statements, and only integers are taken", async (t) => {
  const database = await testDatabase(t);
  await using db = openDatabase({ url: database.runtimeUrl, poolMax: 2, service: "test" });
  for (const [count, bytes] of [
    [0, 1],
    [3, 0],
    [5_000, 100],
    [40, 70_000],
  ] as const) {
    const rows = rowsOf(await db.copyOut(series(1, count, bytes)));
    assert.deepEqual(
      rows,
      Array.from({ length: count }, (_, at) => [at + 1, bytes]),
    );
  }
  const together = await transaction(db, (tx) =>
    Promise.all([
      tx.copyOut(series(-3, -1, 1)).then(rowsOf),
      tx.query<{ one: number }>("SELECT 1 AS one"),
      tx.copyOut(series(7, 7, 1)).then(rowsOf),
    ]),
  );
  assert.deepEqual(
    together.map((each) => (Array.isArray(each) ? each.map(([number]) => number) : each.rows)),
    [[-3, -2, -1], [{ one: 1 }], [7]],
  );
  for (const value of ["1); DROP TABLE a; --", 1.5, Number.NaN, undefined])
    await assert.rejects(db.copyOut(series(1, 1, value)), RangeError);
  await assert.rejects(db.copyOut({ text: "SELECT 1 / 0" }), { code: "22012" });
  assert.deepEqual(rowsOf(await db.copyOut(series(1, 1, 1))), [[1, 1]], "the pool goes on");
  await using nowhere = openDatabase({ url: "postgres://nobody@127.0.0.1:1/none", poolMax: 1, service: "test" });
  await assert.rejects(nowhere.copyOut(series(1, 1, 1)), DomainError);
});
