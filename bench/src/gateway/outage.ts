import { atMost, median, type Row } from "../suite.ts";
import { personPolicy, personQuestions, type Stage } from "./stage.ts";

const ROUNDS = 5;
const CALLS = 500;
const PER_SECOND = 100;
const SOURCE_MS = 10;
const VALID_SHARE = 0.9995;
const PENDING_MS = 200;
const AMPLIFICATION = 1.1;
const OPEN_MS = 2_000;
const RECOVERED_MS = 15_000;
const PATIENCE_MS = 30_000;

/** The population base answers nobody: what callers get, and how often the base is asked all the same. */
export async function measureOutage(stage: Stage): Promise<Row[]> {
  await calm(stage);
  const valid: number[] = [];
  const slowest: number[] = [];
  const amplification: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await stage.putPolicy({ claimPolicies: [personPolicy({ reuseSeconds: 0, partnerToo: true })] });
    await stage.control.reset("population-base");
    await stage.control.control("population-base", { fault: "error", quotaPerSecond: 1_000_000 });
    const questions = personQuestions(2 * CALLS, round * 3 * CALLS);
    const withPartner = await stage.verify({ questions, calls: CALLS, perSecond: PER_SECOND });
    valid.push((withPartner.ends["VERIFIED"] ?? 0) / CALLS);
    await stage.putPolicy({ claimPolicies: [personPolicy({ reuseSeconds: 0 })] });
    await untilUnavailable(stage);
    const alone = await stage.verify({ questions: questions.slice(CALLS), calls: CALLS, perSecond: PER_SECOND });
    slowest.push(alone.ends["PENDING"] === CALLS ? alone.answered.max : Number.POSITIVE_INFINITY);
    const { received } = await stage.control.counters("population-base");
    amplification.push(received / (2 * CALLS));
    await recover(stage);
  }
  return [
    {
      measure: "source out, another one lawful: valid answers",
      value: median(valid),
      unit: "of all",
      baseline: 1,
      ratio: median(valid),
      target: VALID_SHARE,
      ok: median(valid) >= VALID_SHARE,
      rounds: valid,
    },
    {
      ...atMost(PENDING_MS, {
        measure: "source out, no other lawful: all PENDING within",
        value: median(slowest),
        unit: "ms",
        baseline: SOURCE_MS,
      }),
      rounds: slowest,
    },
    {
      ...atMost(AMPLIFICATION, {
        measure: "calls to the source for each question during the outage",
        value: median(amplification),
        unit: "calls",
        baseline: 1,
      }),
      rounds: amplification,
    },
  ];
}

/** The base takes questions and never answers: how soon it is left alone, and how soon it is asked again once healed. */
export async function measureBlackHole(stage: Stage): Promise<Row[]> {
  await calm(stage);
  const opened: number[] = [];
  const recovered: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await stage.control.control("population-base", { fault: "hang" });
    const questions = personQuestions(CALLS, round * CALLS);
    const load = stage.verify({ questions, calls: CALLS, perSecond: PER_SECOND, timeoutMs: 5_000 });
    opened.push(await untilUnavailable(stage));
    await load;
    recovered.push(await recover(stage));
  }
  const rowOf = (measure: string, rounds: number[], target: number): Row => ({
    ...atMost(target, { measure, value: median(rounds), unit: "ms", baseline: target }),
    rounds,
  });
  return [
    rowOf("black hole: breaker open after", opened, OPEN_MS),
    rowOf("black hole: source asked again after healing", recovered, RECOVERED_MS),
  ];
}

async function calm(stage: Stage): Promise<void> {
  for (const source of ["population-base", "partner"] as const)
    await stage.control.control(source, { latencyMs: SOURCE_MS, quotaPerSecond: 1_000_000 });
  await stage.verify({ questions: personQuestions(100, 20_000), calls: 100, perSecond: PER_SECOND });
}

/** Heals the base; gives how long it took until it was asked again. */
async function recover(stage: Stage): Promise<number> {
  await stage.control.reset("population-base");
  await stage.control.control("population-base", { latencyMs: SOURCE_MS, quotaPerSecond: 1_000_000 });
  const startMs = performance.now();
  const probes = personQuestions(400, 40_000);
  for (let at = 0; performance.now() - startMs < PATIENCE_MS; at += 1) {
    const { ends } = await stage.verify({ questions: probes.slice(at % 400), calls: 1, inFlight: 1 });
    // Whoever it has on record: it has answered.
    if (ends["PENDING"] === undefined && (await isAvailable(stage))) return performance.now() - startMs;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return Number.POSITIVE_INFINITY;
}

async function untilUnavailable(stage: Stage): Promise<number> {
  const startMs = performance.now();
  while (performance.now() - startMs < PATIENCE_MS) {
    if (!(await isAvailable(stage))) return performance.now() - startMs;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return Number.POSITIVE_INFINITY;
}

async function isAvailable(stage: Stage): Promise<boolean> {
  const { sources } = await stage.verifications().listSources({}, stage.authorization());
  return sources.find(({ sourceId }) => sourceId === "population-base")?.available ?? false;
}
