import { median, type Row } from "../suite.ts";
import { personPolicy, personQuestions, type Stage } from "./stage.ts";

const ROUNDS = 5;
const WARM_UP_ROUNDS = 2;
const PEOPLE = 64;
const CALLS = 4_000;
const targets = [
  { inFlight: 64, target: 0.5 },
  { inFlight: 256, target: 0.55 },
] as const;

/** Verifications whose words are at hand, each with a durable event and a signed receipt, against bare echoes. */
export async function measureCached(stage: Stage): Promise<Row[]> {
  await stage.putPolicy({ claimPolicies: [personPolicy({ reuseSeconds: 3_600 })] });
  await stage.control.control("population-base", { latencyMs: 0, quotaPerSecond: 1_000_000 });
  const questions = personQuestions(PEOPLE);
  await stage.verify({ questions, calls: PEOPLE, inFlight: 8 });
  const rows: Row[] = [];
  for (const { inFlight, target } of targets) {
    const ours: number[] = [];
    const bare: number[] = [];
    const [oursMicros, bareMicros]: [number[], number[]] = [[], []];
    const sides = [
      async () => {
        const before = await stage.gateway.cpuMicros();
        const { perSecond, ends } = await stage.verify({ questions, calls: CALLS, inFlight });
        if (ends["VERIFIED"] !== CALLS) throw new Error(`not all were verified: ${JSON.stringify(ends)}`);
        ours.push(perSecond);
        oursMicros.push(((await stage.gateway.cpuMicros()) - before) / CALLS);
      },
      async () => {
        const before = await stage.echo.cpuMicros();
        bare.push((await stage.bounce({ calls: CALLS, inFlight })).perSecond);
        bareMicros.push(((await stage.echo.cpuMicros()) - before) / CALLS);
      },
    ];
    for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round += 1) {
      for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side();
      if (round < 0) for (const figures of [ours, bare, oursMicros, bareMicros]) figures.length = 0;
    }
    // What the machine's other work and the scheduler do not touch: the processor time of a call.
    const [oursCpu, bareCpu] = [median(oursMicros), median(bareMicros)];
    console.log(`${inFlight} in flight, CPU of a call: ${oursCpu.toFixed(0)} µs against ${bareCpu.toFixed(0)} µs`);
    const ratios = ours.map((value, round) => value / (bare[round] ?? Number.NaN));
    const ratio = median(ratios);
    rows.push({
      measure: `verify from cache, durable event and receipt, ${inFlight} in flight, against bare grpc-js echo`,
      value: median(ours),
      unit: "calls/s",
      baseline: median(bare),
      ratio,
      target,
      ok: ratio >= target,
      rounds: ratios,
    });
  }
  const { received } = await stage.control.counters("population-base");
  if (received > PEOPLE) throw new Error(`${received} checks for ${PEOPLE} people: not from the cache`);
  return rows;
}
