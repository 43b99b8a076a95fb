import type { Event } from "@fujie/api/fujie/audit/v1/ingest";
import type { Database } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { decodeEntry } from "@fujie/transparency";
import type { Sequencer } from "../log/sequencer.ts";
import { interrupted } from "../log/term.ts";
import type { SubjectKeys } from "../subjects/subject-keys.ts";
import { isSameEntry, isSameEvent, type NarrowEvent, narrowEvent } from "./narrow-event.ts";
import { prepareEntry } from "./prepare-entry.ts";
import { findStoredEntry, indexesOf } from "./store.ts";

/** Takes events into the log, each id once. */
export interface Appender {
  /**
   * Gives each event's index, in order, once all are sealed. An event that is known gets the index that it has.
   * @throws DomainError EVENT_INVALID (nothing of the batch is stored), EVENT_CONFLICT, OVERLOADED,
   * DEPENDENCY_UNAVAILABLE (unknown outcome: append again)
   */
  append(service: string, events: readonly Event[]): Promise<number[]>;
  /** Events on their way into the log. */
  waiting(): number;
}

export interface AppenderOptions {
  readonly db: Database;
  readonly sequencer: Sequencer;
  readonly subjectKeys: SubjectKeys;
  /** Bounds of what is on its way into the log; beyond them events are shed with OVERLOADED. */
  readonly eventsMax?: number;
  readonly bytesMax?: number;
}

/** An event on its way. Others with the same id wait for the same index. */
interface Admitted {
  readonly event: NarrowEvent;
  readonly index: Promise<number>;
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
}

const EVENTS_MAX = 20_000;
const BYTES_MAX = 64 * 1024 * 1024;

/**
 *   narrow all ─▶ admit (one at a time for an id) ─▶ ask the database which are known ─▶ seal the new ones' details
 *   ─▶ sequencer ─▶ index
 *
 * An event stays admitted until its commit is visible, so that a second one of its id either joins it or finds it.
 */
export function createAppender(options: AppenderOptions): Appender {
  const { db, sequencer, subjectKeys, eventsMax = EVENTS_MAX, bytesMax = BYTES_MAX } = options;
  const onTheWay = new Map<string, Admitted>();
  let bytes = 0;

  async function append(service: string, events: readonly Event[]): Promise<number[]> {
    const narrowed = events.map((event, position) => narrowEvent(event, position, service));
    if (!sequencer.isLeading()) throw interrupted();
    const fresh = newAmong(narrowed);
    const freshBytes = fresh.reduce((sum, event) => sum + event.bytes, 0);
    if (onTheWay.size + fresh.length > eventsMax || bytes + freshBytes > bytesMax)
      throw new DomainError("OVERLOADED", { retryDelayMs: 500, subject: "events" });
    const admitted = fresh.map(admit);
    const indexes = narrowed.map(({ eventId }) => onTheWay.get(eventId)?.index ?? Promise.reject(new Error("lost")));
    // Each is awaited below; until then a rejection must not count as unhandled.
    for (const index of indexes) index.catch(() => {});
    await settle(admitted);
    return Promise.all(indexes);
  }

  /** The events that nobody else brings at this moment, each id once. */
  function newAmong(events: readonly NarrowEvent[]): NarrowEvent[] {
    const fresh = new Map<string, NarrowEvent>();
    for (const event of events) {
      const known = onTheWay.get(event.eventId)?.event ?? fresh.get(event.eventId);
      if (known === undefined) fresh.set(event.eventId, event);
      else if (!isSameEvent(known, event)) throw new DomainError("EVENT_CONFLICT");
    }
    return [...fresh.values()];
  }

  function admit(event: NarrowEvent): Admitted {
    const { promise: index, resolve, reject } = Promise.withResolvers<number>();
    const leave = (): void => {
      bytes -= event.bytes;
      onTheWay.delete(event.eventId);
    };
    const admitted: Admitted = {
      event,
      index,
      resolve: (at) => {
        leave();
        resolve(at);
      },
      reject: (error) => {
        leave();
        reject(error);
      },
    };
    bytes += event.bytes;
    onTheWay.set(event.eventId, admitted);
    return admitted;
  }

  /** Sees to it that every admitted event is resolved or rejected. Throws what is wrong with this batch. */
  async function settle(admitted: readonly Admitted[]): Promise<void> {
    try {
      const known = await knownAmong(admitted);
      const fresh = admitted.filter(({ event }) => !known.has(event.eventId));
      const owners = fresh.flatMap(({ event }) => (event.details === undefined ? [] : [event.keyOwner]));
      const sealDetails = await subjectKeys.prepare(owners);
      const waiting = fresh.map(({ event, resolve, reject }) => ({
        entry: prepareEntry(event, sealDetails),
        resolve,
        reject,
      }));
      for (const { event, resolve } of admitted) {
        const index = known.get(event.eventId);
        if (index !== undefined) resolve(index);
      }
      sequencer.append(waiting);
    } catch (error) {
      // Whoever joined one of them asks again: what is wrong may be another event of this batch.
      for (const { reject } of admitted) reject(interrupted());
      throw error;
    }
  }

  /** The indexes of the events that are in the log, provided that they are the same events. */
  async function knownAmong(admitted: readonly Admitted[]): Promise<Map<string, number>> {
    const ids = admitted.map(({ event }) => event.eventId);
    const known = ids.length === 0 ? new Map<string, number>() : await indexesOf(db, ids);
    for (const { event } of known.size === 0 ? [] : admitted) {
      const index = known.get(event.eventId);
      if (index !== undefined && !(await isStored(event, index))) throw new DomainError("EVENT_CONFLICT");
    }
    return known;
  }

  /** Details that were erased cannot be compared any more; all the rest can. */
  async function isStored(event: NarrowEvent, index: number): Promise<boolean> {
    const stored = await findStoredEntry(db, index);
    // Ended with its partition: the id is all that is left.
    if (stored === undefined) return true;
    if (!isSameEntry(decodeEntry(stored.preimage), event.entry)) return false;
    if (stored.details === undefined || event.details === undefined) return stored.details === event.details;
    const details = await subjectKeys.open(event.eventId, stored.details);
    return details === undefined || Buffer.compare(details, event.details) === 0;
  }

  return { append, waiting: () => onTheWay.size };
}
