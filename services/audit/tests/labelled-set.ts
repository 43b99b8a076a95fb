/**
 * A labelled synthetic set for the detectors: ordinary people, operators and applications over a quarter and the one
 * before, and anomalies planted among them. The same seed gives the same set.
 */
import type { Observed } from "../src/analysis/activity.ts";
import { DAY_MS, dayOf, type Quarter, quarterBefore } from "../src/analysis/china-time.ts";
import { type DetectorName, detectorNames } from "../src/analysis/detectors.ts";

export interface Label {
  readonly detector: DetectorName;
  readonly actor: string;
  readonly day: number;
}

export interface LabelledSet {
  readonly entries: readonly Observed[];
  readonly planted: readonly Label[];
}

interface Random {
  /** From 0 up to, not including, `below`. */
  next(below: number): number;
  pick<T>(from: readonly T[]): T | undefined;
}

/** mulberry32: small, and enough for a test's dice. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
  return { next, pick: (from) => from[next(from.length)] };
}

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const PERSONS = 60;
const COUNTERS = 8;
const AUDITORS = 3;
const NIGHT_SHIFT = 2;
const APPLICATIONS = 2;
const PLANTED_OF_EACH = 6;

/** Ordinary activity alone, or with anomalies planted among it. */
export function makeLabelledSet(seed: number, quarter: Quarter, withAnomalies: boolean): LabelledSet {
  const random = seeded(seed);
  const entries: Observed[] = [];
  const add = (timeMs: number, type: string, actor: string, fields: Partial<Observed> = {}): void =>
    void entries.push({ timeMs, type, actor, outcome: "SUCCESS", subject: "", purpose: "", network: "", ...fields });
  const days = { from: dayOf(quarterBefore(quarter).startMs), until: dayOf(quarter.endMs) };
  for (let day = days.from; day < days.until; day += 1) addOrdinaryDay(random, day, add);
  const planted = withAnomalies ? plant(random, quarter, add) : [];
  return { entries, planted };
}

type Add = (timeMs: number, type: string, actor: string, fields?: Partial<Observed>) => void;

/** A moment of the day, by the hour of China Standard Time. */
function at(random: Random, day: number, fromHour: number, untilHour: number): number {
  const startMs = day * DAY_MS - 8 * HOUR_MS;
  return startMs + fromHour * HOUR_MS + random.next((untilHour - fromHour) * HOUR_MS);
}

const times = (count: number, act: (number: number) => void): void => {
  for (let number = 0; number < count; number += 1) act(number);
};

function addOrdinaryDay(random: Random, day: number, add: Add): void {
  const isWeekend = (day + 4) % 7 === 0 || (day + 4) % 7 === 6;
  times(PERSONS, (number) => {
    const person = `person-${number}`;
    // One in ten comes back after months; people mistype, use the phone at home and at work, and sit up late.
    if (number % 10 === 0 && (day + number) % 75 !== 0) return;
    if (random.next(3) > 0) return;
    const timeMs = at(random, day, 7, 24);
    if (random.next(5) === 0)
      add(timeMs - MINUTE_MS, "session.refused", "anonymous", {
        subject: person,
        outcome: "REFUSED",
        network: `home-${number}`,
      });
    add(timeMs, "session.started", person, { network: `home-${number}` });
    if (random.next(4) === 0) add(timeMs + 5 * MINUTE_MS, "session.renewed", person, { network: `phone-${number}` });
    times(random.next(6), () => add(timeMs + random.next(HOUR_MS / 2), "consent.granted", person, { subject: person }));
  });
  if (!isWeekend) {
    times(COUNTERS, (number) => {
      const operator = `counter-${number}`;
      times(10 + random.next(25), () => {
        const timeMs = at(random, day, 9, 17);
        add(timeMs, "counter.searched", operator);
        add(timeMs + MINUTE_MS, "registration.confirmed", operator, { subject: `account-${random.next(10_000)}` });
      });
    });
    times(AUDITORS, (number) =>
      times(random.next(20), () =>
        add(at(random, day, 9, 19), "entries.listed", `auditor-${number}`, { purpose: "review" }),
      ),
    );
  }
  times(NIGHT_SHIFT, (number) =>
    times(3 + random.next(6), () => add(at(random, day, 23, 24), "incident.opened", `night-${number}`)),
  );
  times(APPLICATIONS, (number) =>
    times(60 + random.next(60), (act) => {
      const refused = act % 12 === 0;
      add(
        at(random, day, 6, 23),
        "verification.requested",
        `application-${number}`,
        refused ? { outcome: "REFUSED" } : {},
      );
    }),
  );
}

function plant(random: Random, quarter: Quarter, add: Add): Label[] {
  const labels: Label[] = [];
  const firstDay = dayOf(quarter.startMs);
  const spread = dayOf(quarter.endMs) - firstDay;
  const planters: Readonly<Record<DetectorName, (day: number, number: number) => string>> = {
    burst: (day, number) => {
      const actor = number % 2 === 0 ? `application-${number % APPLICATIONS}` : `counter-${number % COUNTERS}`;
      times(600, () => add(at(random, day, 14, 15), "account.read", actor));
      return actor;
    },
    oddHours: (day, number) => {
      const actor = `counter-${number}`;
      times(4, () => add(at(random, day, 1, 4), "counter.searched", actor));
      return actor;
    },
    travel: (day, number) => {
      const actor = `person-${1 + number}`;
      const timeMs = at(random, day, 8, 20);
      times(3, (hop) => add(timeMs + hop * 4 * MINUTE_MS, "session.started", actor, { network: `far-${hop}` }));
      return actor;
    },
    enumeration: (day, number) => {
      const actor = number % 2 === 0 ? `counter-${number}` : `network:sweep-${number}`;
      const [type, from] = number % 2 === 0 ? ["counter.searched", actor] : ["session.refused", "anonymous"];
      times(number % 2 === 0 ? 40 : 150, (tried) =>
        add(at(random, day, 9, 17), type ?? "", from ?? "", {
          outcome: "REFUSED",
          network: number % 2 === 0 ? "" : `sweep-${number}`,
          subject: number % 2 === 0 ? `account-${tried}` : "",
        }),
      );
      return actor;
    },
    dormant: (day, number) => {
      const actor = `sleeper-${number}`;
      add((firstDay - 80) * DAY_MS, "counter.searched", actor);
      times(12, () => add(at(random, day, 10, 16), "counter.searched", actor));
      return actor;
    },
    purposeless: (day, number) => {
      const actor = `auditor-${number % AUDITORS}`;
      add(at(random, day, 10, 16), "entry.read", actor);
      return actor;
    },
    bulkApproval: (day, number) => {
      const actor = `counter-${number}`;
      times(35, () =>
        add(at(random, day, 11, 12), "registration.confirmed", actor, { subject: `account-${random.next(10_000)}` }),
      );
      return actor;
    },
  };
  for (const detector of detectorNames) {
    times(PLANTED_OF_EACH, (number) => {
      // Apart from each other, and some on the quarter's first and last days.
      const offset = Math.floor((number * (spread - 1)) / (PLANTED_OF_EACH - 1));
      const day = firstDay + offset;
      labels.push({ detector, actor: planters[detector](day, number), day });
    });
  }
  return labels;
}
