import { median, type Row } from "../suite.ts";
import { makeEvents, type Stage } from "./stage.ts";

const ROUNDS = 5;
const EVENTS = 16_000;
const TARGET = 0.8;

/** Sealed appends against plain batched inserts of the same bytes, interleaved; the first round only warms up. */
export async function measureThroughput(stage: Stage): Promise<Row> {
  const rounds: { sealed: number; plain: number }[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const measured = { sealed: 0, plain: 0 };
    const [ours, theirs] = [makeEvents(EVENTS), makeEvents(EVENTS)];
    const sides = [
      async () => {
        measured.sealed = await eventsPerSecond(() => stage.appendAll(ours));
      },
      async () => {
        measured.plain = await eventsPerSecond(() => stage.insertAll(theirs));
      },
    ];
    // Each side is first in turn.
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side();
    if (round >= 0) rounds.push(measured);
  }
  const ratio = median(rounds.map(({ sealed, plain }) => sealed / plain));
  return {
    measure: "sealed appends against plain batched inserts",
    value: median(rounds.map(({ sealed }) => sealed)),
    unit: "events/s",
    baseline: median(rounds.map(({ plain }) => plain)),
    ratio,
    target: TARGET,
    ok: ratio >= TARGET,
  };
}

async function eventsPerSecond(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (EVENTS * 1_000) / (performance.now() - started);
}
