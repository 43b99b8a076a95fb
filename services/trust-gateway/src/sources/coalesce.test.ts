import { strict as assert } from "node:assert";
import { test } from "node:test";
import { createCoalescer } from "./coalesce.ts";
import type { Answer } from "./source.ts";

const answer: Answer = { verdict: "MATCH", level: 2, checkedAtMs: 0 };

test("identical questions at once are one check, another key or a later time is another, and failures are shared", async () => {
  const coalescer = createCoalescer();
  const { signal } = new AbortController();
  let asked = 0;
  const ask = async () => {
    asked += 1;
    return answer;
  };
  const burst = Promise.all(Array.from({ length: 100 }, () => coalescer.share("a", ask, signal)));
  assert.deepEqual([coalescer.isAsking("a"), coalescer.isAsking("b")], [true, false]);
  await burst;
  assert.equal(coalescer.isAsking("a"), false);
  assert.equal(asked, 1);
  await Promise.all([coalescer.share("a", ask, signal), coalescer.share("b", ask, signal)]);
  assert.equal(asked, 3);
  const fail = () => Promise.reject(new RangeError("test"));
  const ends = await Promise.allSettled([coalescer.share("a", fail, signal), coalescer.share("a", fail, signal)]);
  assert.deepEqual(
    ends.map(({ status }) => status),
    ["rejected", "rejected"],
  );
});

test("a check is given up only when none of those who share it needs it, and whoever comes then starts anew", async () => {
  const coalescer = createCoalescer();
  const signals: AbortSignal[] = [];
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const ask = (signal: AbortSignal) => {
    signals.push(signal);
    return promise;
  };
  const [first, second] = [new AbortController(), new AbortController()];
  const both = [coalescer.share("a", ask, first.signal), coalescer.share("a", ask, second.signal)];
  first.abort();
  assert.equal(signals[0]?.aborted, false);
  second.abort();
  assert.equal(signals[0]?.aborted, true);
  const third = coalescer.share("a", ask, new AbortController().signal);
  assert.equal(signals.length, 2);
  resolve(answer);
  assert.deepEqual(await Promise.all([...both, third]), [answer, answer, answer]);
});
