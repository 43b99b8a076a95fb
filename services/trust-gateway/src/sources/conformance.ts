/**
 * What every source adapter has to keep, whoever is behind it: run by the tests on each adapter against a live source
 * whose manners can be steered. The same cases are what a third party's endpoint will be judged by (SZ-9).
 */
import { strict as assert } from "node:assert";
import type { ClaimElements } from "@fujie/identity";
import { type Check, type Source, SourceError, type SourceFault, type SourceKind } from "./source.ts";

export type Manner = "none" | "error" | "hang" | "drop" | "maintenance" | "over-quota";

/** A live source and the levers of a test over it. */
export interface Bench {
  readonly source: Source;
  /** Claims that the source finds true, false, and has no record of; a CA has a word on each certificate of its own. */
  readonly claims: Readonly<Record<"MATCH" | "MISMATCH", ClaimElements> & Partial<Record<"NO_RECORD", ClaimElements>>>;
  newCheck(claim: ClaimElements): Check;
  behave(manner: Manner): Promise<void>;
  /** How many checks the source has charged since the last `behave("none")`. */
  billed(): Promise<number>;
}

export interface ConformanceCase {
  readonly title: string;
  /** What it is about: a source that keeps no books and bills nothing has only to answer. */
  readonly of: "answers" | "books";
  run(bench: Bench): Promise<void>;
}

/** Far longer than any source takes that means to answer. */
const PATIENCE_MS = 5_000;
const HANG_MS = 200;

const verdicts = ["MATCH", "MISMATCH", "NO_RECORD"] as const;

/** The cases that a kind of source has to keep. */
export function casesFor(kind: SourceKind): readonly ConformanceCase[] {
  return kind === "ca" ? conformanceCases.filter((each) => each.of === "answers") : conformanceCases;
}

const conformanceCases: readonly ConformanceCase[] = [
  ...verdicts.map((verdict) => ({
    title: `${verdict} is an answer, with level and time (SZ-11.2)`,
    of: verdict === "NO_RECORD" ? ("books" as const) : ("answers" as const),
    run: async ({ source, claims, newCheck }: Bench) => {
      const claim = claims[verdict];
      assert.ok(claim !== undefined);
      const check = newCheck(claim);
      const answer = await source.check(check, within(PATIENCE_MS));
      assert.equal(answer.verdict, verdict);
      assert.ok(answer.level >= 1 && answer.level <= source.level);
      assert.ok(Math.abs(answer.checkedAtMs - check.askedAtMs) < 5 * 60_000);
    },
  })),
  {
    title: "the same bizSeq with the same elements gives the first answer, charged once",
    of: "books",
    run: async ({ source, claims, newCheck, billed }) => {
      const check = newCheck(claims.MATCH);
      const first = await source.check(check, within(PATIENCE_MS));
      assert.deepEqual(await source.check(check, within(PATIENCE_MS)), first);
      assert.deepEqual(await source.findOutcome(check, within(PATIENCE_MS)), first);
      assert.equal(await source.wasAnswered(check.bizSeq, within(PATIENCE_MS)), true);
      assert.equal(await billed(), 1);
    },
  },
  {
    title: "the same bizSeq with other elements is refused",
    of: "books",
    run: async ({ source, claims, newCheck }) => {
      const check = newCheck(claims.MATCH);
      await source.check(check, within(PATIENCE_MS));
      await fails(source.check({ ...check, claim: claims.MISMATCH }, within(PATIENCE_MS)), "REFUSED");
    },
  },
  {
    title: "a check that never arrived has no outcome",
    of: "answers",
    run: async ({ source, claims, newCheck }) => {
      const check = newCheck(claims.MATCH);
      assert.equal(await source.findOutcome(check, within(PATIENCE_MS)), undefined);
      assert.equal(await source.wasAnswered(check.bizSeq, within(PATIENCE_MS)), false);
    },
  },
  {
    title: "an answer that was lost is unknown, and found by its bizSeq without being charged again",
    of: "books",
    run: async ({ source, claims, newCheck, behave, billed }) => {
      const check = newCheck(claims.MATCH);
      await behave("drop");
      await fails(source.check(check, within(PATIENCE_MS)), "UNKNOWN");
      assert.equal((await source.findOutcome(check, within(PATIENCE_MS)))?.verdict, "MATCH");
      assert.equal(await billed(), 1);
    },
  },
  {
    title: "a claim of a type that the kind does not answer is refused, and costs nothing",
    of: "answers",
    run: async ({ source, newCheck, billed }) => {
      const types = new Set(source.claimTypes);
      const foreign = foreignClaims.find(({ type }) => !types.has(type));
      // A partner may answer every type that a source can.
      if (foreign === undefined) return;
      await fails(source.check(newCheck(foreign), within(PATIENCE_MS)), "REFUSED");
      assert.equal(await billed(), 0);
    },
  },
  {
    title: "maintenance is away, and charges nothing",
    of: "answers",
    run: async ({ source, claims, newCheck, behave, billed }) => {
      await behave("maintenance");
      await fails(source.check(newCheck(claims.MATCH), within(PATIENCE_MS)), "AWAY");
      assert.equal(await billed(), 0);
    },
  },
  {
    title: "a fault may have been charged: unknown",
    of: "books",
    run: async ({ source, claims, newCheck, behave }) => {
      await behave("error");
      await fails(source.check(newCheck(claims.MATCH), within(PATIENCE_MS)), "UNKNOWN");
    },
  },
  {
    title: "a source that does not answer is left when the caller's patience ends",
    of: "answers",
    run: async ({ source, claims, newCheck, behave }) => {
      await behave("hang");
      await fails(source.check(newCheck(claims.MATCH), within(HANG_MS)), "UNKNOWN");
    },
  },
  {
    title: "over the quota is no fault of availability",
    of: "books",
    run: async ({ source, claims, newCheck, behave }) => {
      await behave("over-quota");
      const asked = [1, 2, 3].map(() => source.check(newCheck(claims.MATCH), within(PATIENCE_MS)));
      const ends = await Promise.allSettled(asked);
      const faults = ends.flatMap((end) => (end.status === "rejected" ? [faultOf(end.reason)] : []));
      assert.ok(faults.length > 0 && faults.every((fault) => fault === "LIMITED"), faults.join());
    },
  },
];

const foreignClaims: readonly ClaimElements[] = [
  { type: "PERSON_TWO_ELEMENT", citizenId: "11010519491231002X", personName: "张三" },
  { type: "LEGAL_PERSON", uscc: "91350100M000100Y43", organisationName: "甲" },
];

function within(ms: number): AbortSignal {
  return AbortSignal.timeout(ms);
}

async function fails(call: Promise<unknown>, fault: SourceFault): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.equal(faultOf(error), fault);
    return true;
  });
}

function faultOf(error: unknown): SourceFault | string {
  return error instanceof SourceError ? error.fault : String(error);
}
