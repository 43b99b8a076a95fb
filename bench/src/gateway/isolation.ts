import { atMost, median, type Row } from "../suite.ts";
import { organisationQuestions, personQuestions, type Stage } from "./stage.ts";

const ROUNDS = 5;
const CALLS = 400;
const PER_SECOND = 80;
const SOURCE_MS = 20;
const TARGET = 1.2;

/** Verifications of persons while the base of organisations, which is asked at the same time, takes ten times as long. */
export async function measureIsolation(stage: Stage): Promise<Row[]> {
  for (const source of ["population-base", "legal-person-base"] as const)
    await stage.control.control(source, { latencyMs: SOURCE_MS, quotaPerSecond: 1_000_000 });
  const healthy: number[] = [];
  const beside: number[] = [];
  let from = 0;
  const p99 = async (otherMs: number): Promise<number> => {
    await stage.control.control("legal-person-base", { latencyMs: otherMs });
    from += CALLS;
    const organisations = organisationQuestions(CALLS / 2);
    // Mixed: every third question is one about an organisation.
    const people = personQuestions(CALLS, from);
    const others = stage.secondLoad({ questions: organisations, calls: CALLS / 2, perSecond: PER_SECOND / 2 });
    const { answered, ends } = await stage.verify({ questions: people, calls: CALLS, perSecond: PER_SECOND });
    await others;
    if (ends["VERIFIED"] !== CALLS) throw new Error(`not all were verified: ${JSON.stringify(ends)}`);
    return answered.p99;
  };
  await p99(SOURCE_MS);
  for (let round = 0; round < ROUNDS; round += 1) {
    healthy.push(await p99(SOURCE_MS));
    beside.push(await p99(10 * SOURCE_MS));
  }
  const ratios = beside.map((value, round) => value / (healthy[round] ?? Number.NaN));
  const ratio = median(ratios);
  const row = atMost(TARGET, {
    measure: "another source at 10× latency: p99 of routes that don't need it",
    value: median(beside),
    unit: "ms",
    baseline: median(healthy),
    bounds: "ratio",
  });
  return [{ ...row, ratio, ok: ratio <= TARGET, rounds: ratios }];
}
