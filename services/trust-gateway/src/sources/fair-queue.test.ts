import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { type Claimant, createFairQueue } from "./fair-queue.ts";

const by = (tenant: string, weight = 1, priority: Claimant["priority"] = "interactive"): Claimant => ({
  tenant,
  weight,
  priority,
});

/** A queue of "tenant" items, filled in this order. */
function filled(sizeMax: number, ...claims: [count: number, claimant: Claimant][]) {
  const queue = createFairQueue<{ readonly tenant: string }>(sizeMax);
  const lost: string[] = [];
  for (const [count, claimant] of claims) {
    for (let i = 0; i < count; i += 1) {
      const loser = queue.push({ tenant: claimant.tenant }, claimant);
      if (loser !== undefined) lost.push(loser.tenant);
    }
  }
  const take = (count: number) => Array.from({ length: count }, () => queue.shift()?.tenant ?? "-").join("");
  return { queue, lost, take };
}

test("whoever comes after a noisy tenant waits for one of its questions and not for all", () => {
  const { take } = filled(100, [50, by("n")], [2, by("q")]);
  assert.equal(take(6), "nqnqnn");
});

test("tenants get shares by their weights", () => {
  const { take } = filled(200, [90, by("a", 3)], [90, by("b", 1)]);
  const taken = take(80);
  assert.equal(taken.replaceAll("b", "").length, 60);
});

test("who was idle gets no credit for it", () => {
  const { queue, take } = filled(200, [50, by("a")], [1, by("b")]);
  take(30);
  for (let i = 0; i < 20; i += 1) queue.push({ tenant: "b" }, by("b"));
  assert.equal(take(10).replaceAll("b", "").length, 5);
});

test("interactive questions go before batches", () => {
  const { take } = filled(100, [3, by("b", 100, "batch")], [2, by("i")]);
  assert.equal(take(6), "iibbb-");
});

test("a full queue is at the cost of whoever fills it, and of batches first", () => {
  const noisy = filled(10, [15, by("n")], [3, by("q")]);
  assert.equal(noisy.lost.join(""), "nnnnnnnn");
  assert.equal(noisy.queue.size, 10);
  assert.equal(noisy.queue.admits(by("n")), false);
  assert.equal(noisy.queue.admits(by("z")), true);
  const batch = filled(4, [4, by("b", 100, "batch")], [2, by("i")]);
  assert.equal(batch.lost.join(""), "bb");
  assert.equal(filled(4, [4, by("i")], [1, by("b", 100, "batch")]).lost.join(""), "b");
});

interface Step {
  readonly what: "push" | "shift" | "remove";
  readonly claimant: Claimant;
}

test("law: nothing is lost, invented or given twice, and the bound holds", () => {
  const claimant = fc.record({
    tenant: fc.constantFrom("a", "b", "c"),
    weight: fc.integer({ min: 1, max: 5 }),
    priority: fc.constantFrom<Claimant["priority"]>("interactive", "batch"),
  });
  const step: fc.Arbitrary<Step> = fc.record({
    what: fc.constantFrom<Step["what"]>("push", "push", "push", "shift", "remove"),
    claimant,
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const queue = createFairQueue<{ readonly id: number }>(7);
      const inside = new Set<{ readonly id: number }>();
      const takeOut = (item: { readonly id: number } | undefined) =>
        assert.ok(item === undefined || inside.delete(item));
      const act = {
        push: (item: { readonly id: number }, by: Claimant) => {
          const admitted = queue.admits(by);
          const loser = queue.push(item, by);
          assert.equal(admitted, loser !== item);
          inside.add(item);
          takeOut(loser);
        },
        shift: () => {
          const item = queue.shift();
          assert.equal(item === undefined, inside.size === 0);
          takeOut(item);
        },
        remove: () => {
          const [item] = inside;
          if (item === undefined) return;
          assert.ok(queue.remove(item) && !queue.remove(item));
          takeOut(item);
        },
      };
      for (const [id, { what, claimant: by }] of steps.entries()) {
        act[what]({ id }, by);
        assert.equal(queue.size, inside.size);
        assert.ok(queue.size <= 7);
      }
      assert.deepEqual(new Set(queue.drain()), inside);
      assert.equal(queue.shift(), undefined);
    }),
  );
});
