import { strict as assert } from "node:assert";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import { memoryEphemeral } from "@fujie/kit/ephemeral";
import fc from "fast-check";
import type { EvidenceRow } from "../evidence/mac.ts";
import { adjudicate, type EvidencePolicy, type Verdict } from "../evidence/rules.ts";
import { findWords, isFresh, keepWords, type Reusing } from "./reuse.ts";

const START = 1_800_000_000_000;
const HOUR_MS = 3_600_000;

function setUp(secret = "key") {
  const clock = manualClock(START);
  const digestOf = (text: string | Uint8Array) => createHmac("sha256", secret).update(text).digest();
  const reusing: Reusing & { readonly ephemeral: ReturnType<typeof memoryEphemeral> } = {
    ephemeral: memoryEphemeral({ maxEntries: 100, clock }),
    ring: {
      hmac: (_, text) => ({ version: 1, digest: digestOf(text) }),
      hmacMatches: (_, text, digest) => digestOf(text).equals(digest),
    },
  };
  return { clock, reusing };
}

function row(verdict: Verdict, change: Partial<EvidenceRow> = {}): EvidenceRow {
  const about = { evidenceId: "11111111-1111-4111-8111-111111111111", subjectDigest: new Uint8Array(32) };
  return { ...about, sourceId: "base", verdict, level: 2, checkedAtMs: START, ...change };
}

test("a match is used again for as long as the policy says, what is negative for a minute, no answer never", async () => {
  const { clock, reusing } = setUp();
  const find = (reuseMs = HOUR_MS) => findWords(reusing, "k", reuseMs, clock.nowMs());
  const rows = [row("MATCH"), row("MISMATCH", { sourceId: "b" }), row("UNAVAILABLE", { sourceId: "c" })];
  await keepWords(reusing, "k", [...rows, row("VARIANT", { sourceId: "d" })], HOUR_MS, clock.nowMs());
  const about = (words: Awaited<ReturnType<typeof find>>) => words.map(({ sourceId, verdict }) => [sourceId, verdict]);
  assert.deepEqual(about(await find()), [
    ["base", "MATCH"],
    ["b", "MISMATCH"],
  ]);
  clock.advance(60_000);
  assert.deepEqual(about(await find()), [["base", "MATCH"]]);
  assert.deepEqual(await find(0), []);
  clock.advance(HOUR_MS - 60_000);
  assert.deepEqual(await find(), []);
});

test("a word keeps the moment and the evidence that it comes from, however often it is used again", async () => {
  const { clock, reusing } = setUp();
  await keepWords(reusing, "k", [row("MATCH", { checkedAtMs: START - 1_000 })], HOUR_MS, clock.nowMs());
  const [word] = await findWords(reusing, "k", HOUR_MS, clock.nowMs());
  assert.deepEqual([word?.checkedAtMs, word?.level, word?.evidenceId], [START - 1_000, 2, row("MATCH").evidenceId]);
  const again = row("MATCH", { evidenceId: "22222222-2222-4222-8222-222222222222", reusedFrom: word?.evidenceId });
  await keepWords(reusing, "k", [again], HOUR_MS, clock.nowMs());
  assert.equal((await findWords(reusing, "k", HOUR_MS, clock.nowMs()))[0]?.evidenceId, row("MATCH").evidenceId);
});

test("whoever can write to the store cannot make a word up, change one, or move one to another question", async () => {
  const { clock, reusing } = setUp();
  const find = (key = "k") => findWords(reusing, key, HOUR_MS, clock.nowMs());
  await keepWords(reusing, "k", [row("MISMATCH")], HOUR_MS, clock.nowMs());
  const kept = (await reusing.ephemeral.get("words:k")) ?? "";
  assert.equal((await find()).length, 1);
  const other = setUp("another key");
  await keepWords({ ...other.reusing, ephemeral: reusing.ephemeral }, "forged", [row("MATCH")], HOUR_MS, START);
  await reusing.ephemeral.set("words:moved", kept, { ttlMs: HOUR_MS });
  await reusing.ephemeral.set("words:changed", kept.replace("MISMATCH", "MATCH"), { ttlMs: HOUR_MS });
  for (const [key, value] of [
    ["empty", ""],
    ["bare", " base:MATCH:3:1:x"],
    ["noise", "\u0000 \n,,::"],
  ] as const) {
    await reusing.ephemeral.set(`words:${key}`, value, { ttlMs: HOUR_MS });
  }
  for (const key of ["forged", "moved", "changed", "empty", "bare", "noise"])
    assert.deepEqual(await find(key), [], key);
});

test("a text that was found genuine before is no excuse for another one under its key, or for itself under another", async () => {
  const { clock, reusing } = setUp();
  const find = (key: string) => findWords(reusing, key, HOUR_MS, clock.nowMs());
  await keepWords(reusing, "k", [row("MATCH")], HOUR_MS, clock.nowMs());
  assert.equal((await find("k")).length, 1);
  assert.equal((await find("k")).length, 1);
  const genuine = (await reusing.ephemeral.get("words:k")) ?? "";
  await reusing.ephemeral.set("words:k", genuine.replace("MATCH", "MISMATCH"), { ttlMs: HOUR_MS });
  await reusing.ephemeral.set("words:other", genuine, { ttlMs: HOUR_MS });
  assert.deepEqual([await find("k"), await find("other")], [[], []]);
  await reusing.ephemeral.set("words:k", genuine, { ttlMs: HOUR_MS });
  assert.equal((await find("k")).length, 1);
});

test("a store that is away has no words", async () => {
  const { reusing } = setUp();
  const away = { ...reusing, ephemeral: { get: () => Promise.reject(new Error("away")), set: reusing.ephemeral.set } };
  assert.deepEqual(await findWords(away, "k", HOUR_MS, START), []);
});

test("law: the words at hand never come to more than what the sources said, at any later moment", async () => {
  const { reusing } = setUp();
  const verdict = fc.constantFrom<Verdict>("MATCH", "MISMATCH", "NO_RECORD", "VARIANT", "UNAVAILABLE", "NOT_CHECKED");
  const rows = fc.array(
    fc.record({ verdict, sourceId: fc.constantFrom("a", "b", "c"), level: fc.integer({ min: 1, max: 3 }) }),
    { maxLength: 5 },
  );
  const needed = fc.integer({ min: 1, max: 3 });
  await fc.assert(
    fc.asyncProperty(rows, needed, fc.integer({ min: 0, max: 2 * HOUR_MS }), async (some, count, laterMs) => {
      const policy: EvidencePolicy = {
        voices: ["a", "b", "c"].map((id, i) => ({ sourceIds: [id], rank: 3 - i })),
        needed: count,
        level: 2,
      };
      const said = some.map((each) => row(each.verdict, each));
      await reusing.ephemeral.delete("words:law");
      await keepWords(reusing, "law", said, HOUR_MS, START);
      const words = await findWords(reusing, "law", HOUR_MS, START + laterMs);
      assert.ok(words.every((word) => isFresh(word, HOUR_MS, START + laterMs)));
      for (const word of words)
        assert.ok(said.some((each) => each.verdict === word.verdict && each.level === word.level));
      const before = adjudicate(policy, said);
      const after = adjudicate(policy, words);
      // A word that is stale by now is missed, and what was in doubt stays so until it is asked again.
      if (laterMs === 0 && after.outcome === "VERIFIED" && !said.some((each) => each.verdict === "VARIANT")) {
        assert.deepEqual(after, before);
      }
      if (after.outcome === "VERIFIED") assert.ok(words.filter((word) => word.verdict === "MATCH").length >= count);
    }),
  );
});
