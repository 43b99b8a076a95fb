/*
 * Reads the log once, in order, and keeps what the analysis and the statistics need: what each actor did on each day,
 * and how many events of each kind a day had. A batch and its position commit together.
 */
import { transaction } from "@fujie/kit/db";
import { decodeEntry } from "@fujie/transparency";
import type { Context } from "../context.ts";
import { decodeDetails } from "../events/narrow-event.ts";
import { readCheckpoint } from "../log/store.ts";
import {
  type ActorDay,
  type DayCount,
  mergeActivity,
  type Observed,
  SIGN_IN_TYPES,
  summariseActivity,
} from "./activity.ts";
import { dayOf } from "./china-time.ts";
import {
  addCounts,
  type EntryToCount,
  entriesFrom,
  findActorDays,
  findPosition,
  keepActorDays,
  setPosition,
} from "./store.ts";

export type CountContext = Pick<Context, "db" | "subjectKeys">;

interface Counted extends Observed {
  readonly method: string;
}

/** Counts at most `batchMax` further entries of the published log; returns how many. */
export async function countEntries(context: CountContext, batchMax: number): Promise<number> {
  const { db } = context;
  const size = (await readCheckpoint(db))?.size ?? 0;
  const position = await findPosition(db);
  const rows = await entriesFrom(db, position.nextIndex, size, batchMax);
  const last = rows.at(-1);
  if (last === undefined) return 0;
  const entries: Counted[] = [];
  for (const row of rows) entries.push(await observe(context, row));
  const newestMs = entries.reduce((newest, { timeMs }) => Math.max(newest, timeMs), position.newestMs);
  const days = summariseActivity(entries);
  await transaction(db, async (tx) => {
    if (!(await setPosition(tx, position.nextIndex, { nextIndex: last.index + 1, newestMs }))) return;
    const known = new Map((await findActorDays(tx, days)).map((day) => [keyOf(day), day]));
    await keepActorDays(
      tx,
      days.map((day) => {
        const before = known.get(keyOf(day));
        return before === undefined ? day : { ...day, activity: mergeActivity(before.activity, day.activity) };
      }),
    );
    await addCounts(tx, countByDay(entries));
  });
  return rows.length;
}

/** Counts until everything that is published now is counted. False when that is more than `batches` batches. */
export async function countUpToDate(context: CountContext, batches: number, batchMax: number): Promise<boolean> {
  for (let batch = 0; batch < batches; batch += 1) {
    if ((await countEntries(context, batchMax)) < batchMax) return true;
  }
  return false;
}

async function observe({ subjectKeys }: CountContext, row: EntryToCount): Promise<Counted> {
  const { eventId, timeMs, type, outcome, actor, subject, purpose } = decodeEntry(row.preimage);
  const isSealed = SIGN_IN_TYPES.has(type) && row.details !== null && row.detailsKey !== null;
  const opened = isSealed
    ? await subjectKeys.open(eventId, { keyId: row.detailsKey ?? "", sealed: row.details ?? Buffer.of() })
    : undefined;
  const { network = "", method = "" } = opened === undefined ? {} : decodeDetails(opened);
  return { timeMs, type, outcome, actor, subject, purpose, network, method };
}

function countByDay(entries: readonly Counted[]): DayCount[] {
  const counts = new Map<string, DayCount>();
  for (const { timeMs, type, outcome, method } of entries) {
    const one = { day: dayOf(timeMs), type, method, outcome, count: 1 };
    const key = JSON.stringify([one.day, type, method, outcome]);
    counts.set(key, { ...one, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()];
}

function keyOf({ actor, day }: Pick<ActorDay, "actor" | "day">): string {
  return `${day} ${actor}`;
}
