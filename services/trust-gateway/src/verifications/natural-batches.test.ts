import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { DomainError } from "@fujie/kit/errors";
import fc from "fast-check";
import { naturalBatches } from "./natural-batches.ts";

/** How a batch ends, and how many turns of the event loop it takes. */
const endings = fc.array(fc.record({ turns: fc.nat({ max: 3 }), fails: fc.boolean() }), { maxLength: 40 });
const arrivals = fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 12 });

test("every item is answered exactly once, by its own result or its batch's error, in bounded batches and in order", async () => {
  await fc.assert(
    fc.asyncProperty(arrivals, endings, async (bursts, plan) => {
      const begun: number[] = [];
      let [out, outMost, runs] = [0, 0, 0];
      const failed = new Set<number>();
      const batches = naturalBatches<number, string>({
        sizeMax: 4,
        outMax: 2,
        waitingMax: 1_000,
        run: async (items) => {
          const { turns, fails } = plan[runs] ?? { turns: 0, fails: false };
          runs += 1;
          out += 1;
          outMost = Math.max(outMost, out);
          assert.ok(items.length >= 1 && items.length <= 4);
          begun.push(...items);
          for (let i = 0; i < turns; i += 1) await turn();
          out -= 1;
          if (!fails) return items.map((item) => `done ${item}`);
          for (const item of items) failed.add(item);
          throw new Error(`batch of ${items.join()}`);
        },
      });
      const answers: Promise<string>[] = [];
      for (const burst of bursts) {
        for (let i = 0; i < burst; i += 1) {
          const answer = batches.submit(answers.length);
          // Looked at below; until then a rejection must not count as unhandled.
          answer.catch(() => {});
          answers.push(answer);
        }
        await turn();
      }
      const settled = await Promise.allSettled(answers);
      assert.deepEqual(begun, [...settled.keys()]);
      assert.ok(outMost <= 2);
      for (const [item, answer] of settled.entries()) {
        if (answer.status === "fulfilled") assert.equal(answer.value, `done ${item}`);
        else assert.match(String(answer.reason), new RegExp(`\\b${item}\\b`));
        assert.equal(answer.status === "rejected", failed.has(item));
      }
    }),
  );
});

test("a lone item goes at once; what comes while two batches are out goes together in the next", async () => {
  const sizes: number[] = [];
  const gate = Promise.withResolvers<void>();
  const { submit } = naturalBatches<number, number>({
    sizeMax: 256,
    outMax: 2,
    waitingMax: 1_000,
    run: async (items) => {
      sizes.push(items.length);
      await gate.promise;
      return items;
    },
  });
  const answers = [];
  for (let i = 0; i < 50; i += 1) {
    answers.push(submit(i));
    if (i < 2) await turn();
  }
  gate.resolve();
  assert.deepEqual(await Promise.all(answers), [...Array(50).keys()]);
  assert.deepEqual(sizes, [1, 1, 48]);
});

test("beyond the bound an item is refused as OVERLOADED, and a run that forgets one fails its batch", async () => {
  const { submit } = naturalBatches<number, number>({ sizeMax: 2, outMax: 1, waitingMax: 3, run: async () => [1] });
  const reasons = [0, 1, 2, 3].map((item) =>
    submit(item).then(
      () => "answered",
      (error: unknown) => (error instanceof DomainError ? error.reason : "failed"),
    ),
  );
  assert.deepEqual(await Promise.all(reasons), ["failed", "failed", "answered", "OVERLOADED"]);
});
