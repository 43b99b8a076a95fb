import assert from "node:assert/strict";
import { test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import { DomainError } from "@fujie/kit/errors";
import fc from "fast-check";
import { type Check, type Source, SourceError } from "../sources/source.ts";
import { createCallBook, type Sent } from "./book.ts";
import { callEnds } from "./ends.ts";
import { endOf, LOOK_AFTER_MS, LOOK_UNTIL_MS, nextLookMs, requireDays } from "./rules.ts";

const clock = manualClock(0);
const yes = new AbortController().signal;
const check = (bizSeq: string): Check => ({
  bizSeq,
  nonce: new Uint8Array(32),
  claim: { type: "PERSON_TWO_ELEMENT", citizenId: "x", personName: "y" },
  purpose: "test",
  askedAtMs: 0,
});

type Turn =
  | "answered"
  | "partly"
  | "away"
  | "limited"
  | "refused"
  | "unknown"
  | "outcome"
  | "never-arrived"
  | "outcome-away";

/** A source that does as it is told, once per call. */
function scripted(turns: readonly Turn[]): { source: Source; book: ReturnType<typeof createCallBook> } {
  const left = [...turns];
  const answer = { verdict: "MATCH", level: 2, checkedAtMs: 0 } as const;
  const faults = { away: "AWAY", limited: "LIMITED", refused: "REFUSED", "outcome-away": "AWAY" } as const;
  const next = async () => {
    const turn = left.shift() ?? "unknown";
    if (turn === "answered" || turn === "outcome") return answer;
    if (turn === "never-arrived") return undefined;
    if (turn === "unknown") throw new Error("cut off");
    if (turn === "partly") throw new SourceError("AWAY", "told to", { partlyAnswered: true });
    throw new SourceError(faults[turn], "told to");
  };
  const book = createCallBook({ clock });
  const source = book.around({
    id: "a",
    kind: "partner",
    claimTypes: ["PERSON_TWO_ELEMENT"],
    level: 2,
    priceFen: 1,
    usualLatencyMs: 1,
    check: async () => (await next()) ?? answer,
    findOutcome: () => next(),
    wasAnswered: async () => false,
    [Symbol.dispose]: () => {},
  });
  return { source, book };
}

async function run(turns: readonly Turn[]) {
  const { source, book } = scripted(turns);
  for (const turn of turns) {
    const asks = turn === "outcome" || turn === "never-arrived" || turn === "outcome-away";
    await (asks ? source.findOutcome(check("b"), yes) : source.check(check("b"), yes)).catch(() => {});
  }
  return book;
}

test("SZ-21 the book never says that a call was not taken when it may have been answered, nor the other way round", async () => {
  const turns = fc.array(
    fc.constantFrom<Turn>(
      "partly",
      "answered",
      "away",
      "limited",
      "refused",
      "unknown",
      "outcome",
      "never-arrived",
      "outcome-away",
    ),
    { minLength: 1, maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(turns, async (script) => {
      const book = await run(script);
      const sent = book.take("b");
      const answered = script.includes("answered") || script.includes("outcome");
      const declined = script.every((turn) => turn === "away" || turn === "limited");
      assert.equal(sent?.state, answered ? "ANSWERED" : declined ? "DECLINED" : "UNKNOWN");
      assert.equal(sent?.billed, answered ? 1 : 0);
      assert.equal(book.take("b"), undefined, "it is told once");
    }),
  );
});

test("a call that is still under way when its verification is decided is unknown, and its late end harms nobody", async () => {
  const book = createCallBook({ clock });
  const { promise, resolve } = Promise.withResolvers<void>();
  const { source } = scripted([]);
  const slow = book.around({
    ...source,
    check: async () => {
      await promise;
      return { verdict: "MATCH", level: 2, checkedAtMs: 0 };
    },
  });
  const asked = slow.check(check("c"), yes);
  assert.equal(book.take("c")?.state, "UNKNOWN");
  resolve();
  await asked;
  assert.equal(book.take("c"), undefined);
});

test("SZ-21 a check that waits when its question is decided is unknown: it may be sent yet, for somebody who shares it", () => {
  const checks = ["heard", "silent", "waiting"].map((sourceId) => ({ sourceId, bizSeq: sourceId }));
  const evidence = [
    { sourceId: "heard", verdict: "MISMATCH" },
    { sourceId: "silent", verdict: "UNAVAILABLE" },
  ] as const;
  const attempt = { fresh: true, decided: true };
  const states = { heard: "ANSWERED", silent: "DECLINED" } as const;
  const sent = new Map<string, Sent>(Object.entries(states).map(([id, state]) => [id, { state, billed: 0 }]));
  const take = (bizSeq: string) => sent.get(bizSeq);
  const ends = () => callEnds({ take }, checks, evidence, attempt).map(({ end }) => end);
  assert.deepEqual(ends(), ["ANSWERED", "NOT_BILLED", "UNKNOWN"]);
  sent.set("waiting", { state: "DECLINED", billed: 0 });
  assert.deepEqual(ends(), ["ANSWERED", "NOT_BILLED", "UNKNOWN"]);
});

test("a call that nobody takes is forgotten after a while, and one that is taken later is not made up", async () => {
  const time = manualClock(0);
  const book = createCallBook({ clock: time });
  const { source } = scripted(["answered", "answered", "answered"]);
  const noted = book.around(source);
  await noted.check(check("left"), yes);
  time.advance(599_999);
  await noted.check(check("later"), yes);
  assert.equal(book.take("left")?.state, "ANSWERED");
  time.advance(600_000);
  await noted.check(check("last"), yes);
  assert.deepEqual([book.take("later"), book.take("last")?.state], [undefined, "ANSWERED"]);
});

test("an end is only given once nobody can ask any more, and is never a guess", () => {
  const standing = { sent: undefined, answered: false, asking: false, fresh: true, decided: true } as const;
  assert.equal(endOf({ ...standing, sent: "ANSWERED", decided: false }), "ANSWERED");
  assert.equal(endOf({ ...standing, sent: "UNKNOWN" }), "UNKNOWN");
  assert.equal(endOf({ ...standing, sent: "DECLINED" }), "NOT_BILLED");
  assert.equal(endOf({ ...standing, sent: "DECLINED", decided: false }), undefined, "it is asked again");
  assert.equal(endOf({ ...standing, sent: "DECLINED", fresh: false }), "UNKNOWN", "an earlier process may have asked");
  assert.equal(endOf({ ...standing, answered: true }), "SHARED");
  assert.equal(endOf({ ...standing, answered: true, fresh: false }), "UNKNOWN");
  assert.equal(endOf(standing), "NOT_BILLED");
  assert.equal(endOf({ ...standing, asking: true }), "UNKNOWN", "it waits, and is sent for somebody else");
  assert.equal(
    endOf({ ...standing, sent: "DECLINED", asking: true }),
    "UNKNOWN",
    "it is tried again for somebody else",
  );
});

test("unknown calls are looked for ever more seldom, and not once the source may have forgotten them", () => {
  let nowMs = LOOK_AFTER_MS;
  let looks = 1;
  for (let next = nextLookMs(0, looks, nowMs); next !== undefined; next = nextLookMs(0, looks, nowMs)) {
    assert.ok(next >= nowMs + LOOK_AFTER_MS && next <= nowMs + 3_600_000 && next <= LOOK_UNTIL_MS);
    nowMs = next;
    looks += 1;
  }
  assert.ok(looks > 5 && looks < 40 && nowMs > LOOK_UNTIL_MS - 3_600_000);
});

test("days are refused unless they exist, follow each other and are at most 92", () => {
  const refused = (startDate: string, endDate: string) => {
    assert.throws(
      () => requireDays({ startDate, endDate }),
      (error) => error instanceof DomainError && error.reason === "DATE_RANGE_INVALID",
      `${startDate} ${endDate}`,
    );
  };
  assert.deepEqual(requireDays({ startDate: "2026-02-28", endDate: "2026-03-01" }), {
    start: "2026-02-28",
    end: "2026-03-01",
  });
  refused("2026-02-30", "2026-03-01");
  refused("2026-2-3", "2026-03-01");
  refused("", "2026-03-01");
  refused("2026-03-01", "2026-03-01");
  refused("2026-03-02", "2026-03-01");
  refused("2026-01-01", "2026-04-04");
});
