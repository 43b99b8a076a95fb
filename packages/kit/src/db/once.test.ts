import assert from "node:assert/strict";
import { before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { WatchRequestSchema, WatchResponseSchema } from "@fujie/api/fujie/feed/v1/feed";
import { openTestRing } from "../../tests/key-ring.ts";
import { type KitDatabase, openKitDatabase } from "../../tests/kit-database.ts";
import { manualClock } from "../clock/index.ts";
import type { FileKeyRing } from "../keys/index.ts";
import { claimRequests, describeClaim, once, purgeRequests, replayRequest, startSweeps, transaction } from "./index.ts";

let kit: KitDatabase;
let keys: FileKeyRing;
const cleanups: (() => Promise<void>)[] = [];
before(async () => {
  const t = { after: (fn: () => Promise<void>) => cleanups.push(fn) };
  kit = await openKitDatabase(t);
  keys = await openTestRing(t);
});
test.after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const clock = manualClock(1_000_000);
let runs = 0;

function submit(requestId: string, topic = "a.b", extra: { caller?: string; shownOnce?: boolean } = {}) {
  const { caller = "person-1", shownOnce = false } = extra;
  const request = create(WatchRequestSchema, { topic });
  const schemas = { requestSchema: WatchRequestSchema, responseSchema: WatchResponseSchema };
  return transaction(kit.db, (tx) =>
    once(tx, { caller, method: "X/Create", requestId, request, ...schemas, keys, clock, shownOnce }, async () => {
      runs += 1;
      const answer = `secret answer ${runs} to ${topic}`;
      await tx.query("SELECT pg_sleep(0.02)");
      return create(WatchResponseSchema, { resumeToken: answer });
    }),
  );
}

test("a request submitted many times at once runs once, and all get the same answer", async () => {
  runs = 0;
  const answers = await Promise.all(Array.from({ length: 12 }, () => submit("double")));
  assert.equal(runs, 1);
  assert.equal(new Set(answers.map((answer) => answer.resumeToken)).size, 1);
  assert.deepEqual((await submit("double")).resumeToken, answers[0]?.resumeToken);
  assert.equal(runs, 1);
});

test("another caller's request of the same id is another request; no id means no memory", async () => {
  runs = 0;
  await submit("shared");
  await submit("shared", "a.b", { caller: "person-2" });
  await submit("");
  await submit("");
  assert.equal(runs, 4);
});

test("the same id with other contents is refused, also after the digest key was rotated", async () => {
  await submit("reused");
  await assert.rejects(submit("reused", "c.d"), { reason: "REQUEST_ID_REUSED" });
  keys.rotate("request-digest");
  keys.rotate("response");
  assert.match((await submit("reused")).resumeToken, /answer/);
  await assert.rejects(submit("reused", "c.d"), { reason: "REQUEST_ID_REUSED" });
});

test("an answer of ids alone is kept in clear, and believed only where answers are of ids alone", async () => {
  const schemas = { requestSchema: WatchRequestSchema, responseSchema: WatchResponseSchema };
  const request = create(WatchRequestSchema, { topic: "a.b" });
  const options = (requestId: string, idsOnly: boolean) =>
    ({ caller: "c", method: "X/Ask", requestId, request, ...schemas, keys, clock, idsOnly }) as const;
  const answer = create(WatchResponseSchema, { resumeToken: "an id" });
  const replay = (requestId: string, idsOnly: boolean) => replayRequest(kit.db, options(requestId, idsOnly));
  const claim = (idsOnly: boolean) => describeClaim(options(`ids ${idsOnly}`, idsOnly), answer);
  const [clear, sealed] = [claim(true), claim(false)];
  assert.ok(clear.response.includes("an id") && !sealed.response.includes("an id"));
  await transaction(kit.db, (tx) => claimRequests(tx, [clear, sealed]));
  assert.equal((await replay("ids true", true))?.resumeToken, "an id");
  // From before it was known that its answers are of ids alone.
  assert.equal((await replay("ids false", true))?.resumeToken, "an id");
  await assert.rejects(replay("ids true", false), { name: "KeyError" });
});

test("a request that failed may be repeated", async () => {
  const request = create(WatchRequestSchema, {});
  const options = {
    caller: "c",
    method: "m",
    requestId: "failing",
    request,
    requestSchema: WatchRequestSchema,
    responseSchema: WatchResponseSchema,
    keys,
    clock,
  };
  const failing = transaction(kit.db, (tx) => once(tx, options, () => Promise.reject(new Error("no"))));
  await assert.rejects(failing, /no/);
  const second = await transaction(kit.db, (tx) => once(tx, options, async () => create(WatchResponseSchema, {})));
  assert.equal(second.resumeToken, "");
});

test("an answer is sealed at rest, and a secret that is shown once is not kept", async () => {
  await submit("sealed");
  await submit("once", "a.b", { shownOnce: true });
  await assert.rejects(submit("once", "a.b", { shownOnce: true }), { reason: "SECRET_ALREADY_SHOWN" });
  const { rows } = await kit.db.query<{ id: string; response: Buffer | null }>(
    "SELECT request_id AS id, response FROM kit.request WHERE request_id IN ('sealed', 'once') ORDER BY id DESC",
  );
  assert.equal(rows[1]?.response, null);
  assert.equal(rows[0]?.response?.includes("secret"), false);
  // A sealed answer that was moved to another request does not open.
  await submit("victim");
  await kit.db.query(
    "UPDATE kit.request SET response = (SELECT response FROM kit.request WHERE request_id = 'sealed') WHERE request_id = 'victim'",
  );
  await assert.rejects(submit("victim"), { name: "KeyError" });
});

test("requests whose time is over are removed in bounded batches", async (t) => {
  await kit.db.query(
    `INSERT INTO kit.request (caller, method, request_id, digest, expires_at_ms) SELECT 'old', 'm', g, '', g FROM generate_series(1, 25) g`,
  );
  assert.equal(await purgeRequests(kit.db, 5, 3), 3);
  assert.equal(await purgeRequests(kit.db, 5, 3), 2);
  const sizes: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const purging = startSweeps({
    tasks: {
      broken: () => Promise.reject(new Error("broken")),
      requests: async (max) => {
        const removed = await purgeRequests(kit.db, 1_000, max);
        sizes.push(removed);
        if (removed < max) resolve();
        return removed;
      },
    },
    everyMs: 3_600_000,
    batchMax: 8,
    log: { warn: () => {} },
  });
  t.after(() => purging[Symbol.asyncDispose]());
  await promise;
  assert.deepEqual(sizes, [8, 8, 4]);
});
