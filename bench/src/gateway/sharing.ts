import { atMost, type Row } from "../suite.ts";
import { PURPOSE, personQuestions, type Stage } from "./stage.ts";

const BURST = 100;
const PATIENCE_MS = 10_000;

/** A hundred identical questions at once, and questions that are none. */
export async function measureSharing(stage: Stage): Promise<Row[]> {
  await stage.control.control("population-base", { latencyMs: 200, quotaPerSecond: 1_000_000 });
  await stage.control.reset("population-base");
  await stage.control.control("population-base", { latencyMs: 200, quotaPerSecond: 1_000_000 });
  const before = stage.events();
  const [question] = personQuestions(1);
  if (question === undefined) throw new Error("nobody to ask about");
  const { ends } = await stage.verify({ questions: [question], calls: BURST, inFlight: BURST });
  if (ends["VERIFIED"] !== BURST) throw new Error(`not all were verified: ${JSON.stringify(ends)}`);
  const counters = await stage.control.counters("population-base");
  const decided = await eventsSince(stage, before, BURST);

  const malformed = {
    ...question,
    claim: { ...question.claim, citizenId: wrongCheck(question.claim.citizenId ?? "") },
  };
  const refused = await stage.verify({ questions: [malformed], calls: BURST, inFlight: 8 });
  if (refused.refused.count !== BURST) throw new Error("a malformed identifier was not refused");
  const after = await stage.control.counters("population-base");
  const exactly = (measure: string, value: number, baseline: number): Row => ({
    ...atMost(baseline, { measure, value, unit: "", baseline }),
    ok: value === baseline,
    rounds: [value],
  });
  return [
    exactly(`burst of ${BURST} identical questions for ${PURPOSE}: calls to the source`, counters.received, 1),
    exactly(`burst of ${BURST} identical questions: charges`, counters.billed, 1),
    { ...exactly(`burst of ${BURST} identical questions: events`, decided, BURST), ok: decided >= BURST },
    exactly("malformed input: calls to the source", after.received - counters.received, 0),
  ];
}

async function eventsSince(stage: Stage, before: number, wanted: number): Promise<number> {
  const endMs = performance.now() + PATIENCE_MS;
  while (stage.events() - before < wanted && performance.now() < endMs)
    await new Promise((resolve) => setTimeout(resolve, 20));
  return stage.events() - before;
}

function wrongCheck(citizenId: string): string {
  return `${citizenId.slice(0, 17)}${citizenId.endsWith("1") ? "2" : "1"}`;
}
