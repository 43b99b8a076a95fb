import { strict as assert } from "node:assert";
import { test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import { createReplicas } from "./replicas.ts";
import type { Replica } from "./source.ts";

function setUp(count: number) {
  const clock = manualClock(1_000_000);
  const replicas = Array.from(
    { length: count },
    (): Replica => ({ check: () => Promise.reject(), findOutcome: async () => undefined }),
  );
  let seed = 1;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const balanced = createReplicas(replicas, { clock, ejectMs: 5_000, random });
  /** So many calls, one after the other; tells how many each replica got. */
  const run = (calls: number, durationOf: (index: number) => number, answered = (_: number) => true) => {
    const got = replicas.map(() => 0);
    for (let i = 0; i < calls; i += 1) {
      const { replica, ended } = balanced.pick();
      const index = replicas.indexOf(replica);
      got[index] = (got[index] ?? 0) + 1;
      ended({ durationMs: durationOf(index), answered: answered(index) });
    }
    return got;
  };
  return { clock, balanced, replicas, run };
}

test("calls at once are spread by what each replica has to do", () => {
  const { balanced, replicas } = setUp(3);
  const given = Array.from({ length: 30 }, () => balanced.pick());
  for (const replica of replicas) {
    const count = given.filter((each) => each.replica === replica).length;
    assert.ok(count >= 8 && count <= 12, String(count));
  }
});

test("a replica that is far slower is left out, tried again after a while, and left out again", () => {
  const { clock, balanced, run } = setUp(3);
  const slow = (index: number) => (index === 1 ? 500 : 20);
  // Chosen often enough to be known: the others are busy.
  for (let i = 0; i < 40; i += 1) {
    const held = [balanced.pick(), balanced.pick(), balanced.pick()];
    for (const { ended } of held) ended({ durationMs: 20, answered: true });
  }
  const first = run(300, slow);
  assert.ok((first[1] ?? 300) <= 30, String(first));
  clock.advance(5_000);
  run(50, () => 20);
  assert.equal(balanced.ejected(), 0);
});

test("three failures in a row leave a replica out, and the last one is never left out", () => {
  const { clock, balanced, run } = setUp(2);
  const got = run(
    100,
    () => 10,
    (index) => index !== 0,
  );
  assert.deepEqual([got[0], balanced.ejected()], [3, 1]);
  run(
    100,
    () => 10,
    () => false,
  );
  assert.equal(balanced.ejected(), 1);
  clock.advance(5_000);
  assert.equal(balanced.ejected(), 0);
});

test("a retry goes to another replica than the one that failed, where there is one", () => {
  const { balanced, replicas } = setUp(2);
  for (let i = 0; i < 20; i += 1) assert.notEqual(balanced.pick(replicas[0]).replica, replicas[0]);
  const alone = setUp(1);
  assert.equal(alone.balanced.pick(alone.replicas[0]).replica, alone.replicas[0]);
});
