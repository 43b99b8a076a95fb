/**
 * What every source adapter has to keep, whoever is behind it: run by the tests on each adapter against a live source
 * whose manners can be steered. The same cases are what a third party's endpoint will be judged by (SZ-9).
 */
import { strict as assert } from "node:assert";
import type { ClaimElements } from "@fujie/identity";
import { type Answer, type Check, type Source, SourceError, type SourceFault } from "./source.ts";

export type Manner = "none" | "error" | "hang" | "drop" | "maintenance" | "over-quota";

/** A live source and the levers of a test over it. */
export interface Bench {
  readonly source: Source;
  /** Claims that the source finds true, false, and has no record of. */
  readonly claims: Readonly<Record<Answer["verdict"], ClaimElements>>;
  newCheck(claim: ClaimElements): Check;
  behave(manner: Manner): Promise<void>;
  /** How many checks the source has charged since the last `behave("none")`. */
  billed(): Promise<number>;
}

export interface ConformanceCase {
  readonly title: string;
  run(bench: Bench): Promise<void>;
}

/** Far longer than any source takes that means to answer. */
const PATIENCE_MS = 5_000;
const HANG_MS = 200;

const verdicts = ["MATCH", "MISMATCH", "NO_RECORD"] as const;

export const conformanceCases: readonly ConformanceCase[] = [
  ...verdicts.map((verdict) => ({
    title: `${verdict} is an answer, with level and time (SZ-11.2)`,
    run: async ({ source, claims, newCheck }: Bench) => {
      const check = newCheck(claims[verdict]);
      const answer = await source.check(check, within(PATIENCE_MS));
      assert.equal(answer.verdict, verdict);
      assert.ok(answer.level >= 1 && answer.level <= source.level);
      assert.ok(Math.abs(answer.checkedAtMs - check.askedAtMs) < 5 * 60_000);
    },
  })),
  {
    title: "the same bizSeq with the same elements gives the first answer, charged once",
    run: async ({ source, claims, newCheck, billed }) => {
      const check = newCheck(claims.MATCH);
      const first = await source.check(check, within(PATIENCE_MS));
      assert.deepEqual(await source.check(check, within(PATIENCE_MS)), first);
      assert.deepEqual(await source.findOutcome(check, within(PATIENCE_MS)), first);
      assert.equal(await billed(), 1);
    },
  },
  {
    title: "the same bizSeq with other elements is refused",
    run: async ({ source, claims, newCheck }) => {
      const check = newCheck(claims.MATCH);
      await source.check(check, within(PATIENCE_MS));
      await fails(source.check({ ...check, claim: claims.MISMATCH }, within(PATIENCE_MS)), "REFUSED");
    },
  },
  {
    title: "a check that never arrived has no outcome",
    run: async ({ source, claims, newCheck }) => {
      assert.equal(await source.findOutcome(newCheck(claims.MATCH), within(PATIENCE_MS)), undefined);
    },
  },
  {
    title: "an answer that was lost is unknown, and found by its bizSeq without being charged again",
    run: async ({ source, claims, newCheck, behave, billed }) => {
      const check = newCheck(claims.MATCH);
      await behave("drop");
      await fails(source.check(check, within(PATIENCE_MS)), "UNKNOWN");
      assert.equal((await source.findOutcome(check, within(PATIENCE_MS)))?.verdict, "MATCH");
      assert.equal(await billed(), 1);
    },
  },
  {
    title: "maintenance is away, and charges nothing",
    run: async ({ source, claims, newCheck, behave, billed }) => {
      await behave("maintenance");
      await fails(source.check(newCheck(claims.MATCH), within(PATIENCE_MS)), "AWAY");
      assert.equal(await billed(), 0);
    },
  },
  {
    title: "a fault may have been charged: unknown",
    run: async ({ source, claims, newCheck, behave }) => {
      await behave("error");
      await fails(source.check(newCheck(claims.MATCH), within(PATIENCE_MS)), "UNKNOWN");
    },
  },
  {
    title: "a source that does not answer is left when the caller's patience ends",
    run: async ({ source, claims, newCheck, behave }) => {
      await behave("hang");
      await fails(source.check(newCheck(claims.MATCH), within(HANG_MS)), "UNKNOWN");
    },
  },
  {
    title: "over the quota is no fault of availability",
    run: async ({ source, claims, newCheck, behave }) => {
      await behave("over-quota");
      const asked = [1, 2, 3].map(() => source.check(newCheck(claims.MATCH), within(PATIENCE_MS)));
      const ends = await Promise.allSettled(asked);
      const faults = ends.flatMap((end) => (end.status === "rejected" ? [faultOf(end.reason)] : []));
      assert.ok(faults.length > 0 && faults.every((fault) => fault === "LIMITED"), faults.join());
    },
  },
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
