/*
 * Whether event ids and entries are one to one. To look up every entry's event id would cost as much as all the other
 * reading of the log: so the table of event ids is read as it lies on disk, which is nearly the order of the log, and
 * compared with the entries as they come. Only what lies elsewhere is looked up.
 */
import { type Copyable, type Queryable, statement } from "@fujie/kit/db";
import { indexesOf } from "../events/store.ts";
import { EVENT_ID_BYTES } from "./check-rows.ts";

export interface EventIds {
  /** Windows in their order: the event ids of the entries from `begin` on, zeros where there is no entry. */
  compare(begin: number, eventIds: Uint8Array): Promise<void>;
  /**
   * After all windows. Gives how many event ids lead below the log's size.
   * @throws Error when the table was rewritten meanwhile, so that rows may have been passed over
   */
  finish(): Promise<number>;
}

export interface EventIdsOptions {
  readonly db: Queryable & Copyable;
  /** Of the log; event ids that lead beyond are newer. */
  readonly size: number;
  /** Of all windows but the last one. */
  readonly windowEntries: number;
  /** Called for an entry to which its event id does not lead. */
  readonly onAltered: (index: number) => void;
  /** Blocks of the table that are read at once. */
  readonly blocks?: number;
  /** Windows, and rows for windows to come, that wait in memory: what is beyond is looked up. */
  readonly windowsMax?: number;
  readonly earlyMax?: number;
}

const BLOCKS = 128;
const WINDOWS_MAX = 128;
const EARLY_MAX = 200_000;
const LOOKED_UP_AT_ONCE = 1_000;
const ROW_BYTES = EVENT_ID_BYTES + 8;
/** Of a COPY with one row of one column: header, number of columns, length; and the end after them. */
const COPY_BEFORE = 19 + 2 + 4;
const COPY_AFTER = 2;

// A row stays where it is written, unless the whole table is rewritten to another file.
const findFile = statement(
  "audit.verify.event_file",
  `SELECT pg_relation_filenode('audit.event')::int8::text AS file,
     (pg_relation_size('audit.event') / current_setting('block_size')::int)::int AS blocks`,
);
const readBlocks = statement(
  "audit.verify.event_ids",
  `SELECT coalesce(string_agg(uuid_send(event_id) || int8send(index), ''::bytea), ''::bytea) FROM audit.event
   WHERE ctid >= format('(%s,0)', $1)::tid AND ctid < format('(%s,0)', $2)::tid`,
);

interface Held {
  readonly begin: number;
  /** Zeros where the entry's event id was found. */
  readonly eventIds: Uint8Array;
  left: number;
}

export async function openEventIds(options: EventIdsOptions): Promise<EventIds> {
  const { db, size, windowEntries, onAltered } = options;
  const { blocks = BLOCKS, windowsMax = WINDOWS_MAX, earlyMax = EARLY_MAX } = options;
  const held = new Map<number, Held>();
  /** By window, rows that are there before their window. */
  const early = new Map<number, Buffer[]>();
  let earlyRows = 0;
  let toldUntil = 0;
  let count = 0;
  const { file, blocks: end } = await readFile(db);
  const pieces = readPieces(db, end, blocks);

  function take(piece: Buffer): void {
    for (let at = 0; at < piece.length; at += ROW_BYTES) {
      const index = readIndex(piece, at);
      if (index < 0 || index >= size) continue;
      count += 1;
      const window = Math.floor(index / windowEntries);
      const holder = held.get(window);
      if (holder !== undefined) strike(holder, piece, at, index);
      else if (index >= toldUntil && earlyRows < earlyMax) keepEarly(window, piece.subarray(at, at + ROW_BYTES));
    }
  }

  function strike(window: Held, piece: Buffer, at: number, index: number): void {
    const from = (index - window.begin) * EVENT_ID_BYTES;
    for (let byte = 0; byte < EVENT_ID_BYTES; byte++) if (window.eventIds[from + byte] !== piece[at + byte]) return;
    window.eventIds.fill(0, from, from + EVENT_ID_BYTES);
    window.left -= 1;
    if (window.left === 0) held.delete(Math.floor(window.begin / windowEntries));
  }

  function keepEarly(window: number, row: Buffer): void {
    const rows = early.get(window) ?? [];
    early.set(window, rows);
    rows.push(Buffer.from(row));
    earlyRows += 1;
  }

  /** Looks up the event ids of a window that were not met. */
  async function settle(window: Held): Promise<void> {
    held.delete(Math.floor(window.begin / windowEntries));
    const left = textsOf(window.eventIds);
    for (let from = 0; from < left.length; from += LOOKED_UP_AT_ONCE) {
      const piece = left.slice(from, from + LOOKED_UP_AT_ONCE);
      const indexes = await indexesOf(
        db,
        piece.map(({ text }) => text),
      );
      for (const { at, text } of piece) if (indexes.get(text) !== window.begin + at) onAltered(window.begin + at);
    }
  }

  async function readUntil(rows: number): Promise<void> {
    while (count < rows) {
      const piece = await pieces.next();
      if (piece === undefined) return;
      take(piece);
    }
  }

  return {
    compare: async (first, eventIds) => {
      const window: Held = { begin: first, eventIds, left: textsLeft(eventIds) };
      const number = Math.floor(first / windowEntries);
      toldUntil = first + eventIds.length / EVENT_ID_BYTES;
      if (window.left > 0) held.set(number, window);
      const rows = early.get(number) ?? [];
      early.delete(number);
      earlyRows -= rows.length;
      for (const row of rows) strike(window, row, 0, readIndex(row, 0));
      await readUntil(toldUntil);
      for (const oldest of [...held.values()].slice(0, Math.max(0, held.size - windowsMax))) await settle(oldest);
    },
    finish: async () => {
      await readUntil(Number.POSITIVE_INFINITY);
      if ((await readFile(db)).file !== file) throw new Error("the event ids were rewritten meanwhile: verify again");
      for (const window of [...held.values()]) await settle(window);
      return count;
    },
  };
}

async function readFile(db: Queryable): Promise<{ file: string; blocks: number }> {
  const [row] = (await db.query<{ file: string; blocks: number }>(findFile())).rows;
  if (row === undefined) throw new Error("there is no table of event ids");
  return row;
}

/** The rows of the table, some blocks at a time, each asked for while the one before is compared. */
function readPieces(db: Copyable, end: number, blocks: number) {
  let from = 0;
  const ask = (): Promise<Buffer> | undefined => {
    if (from >= end) return undefined;
    const asked = db.copyOut(readBlocks(from, from + blocks));
    from += blocks;
    // Awaited in a later round; until then a rejection must not count as unhandled.
    asked.catch(() => {});
    return asked;
  };
  let coming = ask();
  return {
    next: async (): Promise<Buffer | undefined> => {
      const copied = await coming;
      coming = ask();
      return copied?.subarray(COPY_BEFORE, copied.length - COPY_AFTER);
    },
  };
}

function readIndex(piece: Buffer, at: number): number {
  return piece.readInt32BE(at + EVENT_ID_BYTES) * 2 ** 32 + piece.readUInt32BE(at + EVENT_ID_BYTES + 4);
}

function textsLeft(eventIds: Uint8Array): number {
  let left = 0;
  for (let at = 0; at < eventIds.length; at += EVENT_ID_BYTES) if (!isZero(eventIds, at)) left += 1;
  return left;
}

function isZero(eventIds: Uint8Array, at: number): boolean {
  for (let byte = at; byte < at + EVENT_ID_BYTES; byte++) if (eventIds[byte] !== 0) return false;
  return true;
}

/** The event ids that are left, as texts, with their places. */
function textsOf(eventIds: Uint8Array): { readonly at: number; readonly text: string }[] {
  const left: { at: number; text: string }[] = [];
  for (let at = 0; at < eventIds.length; at += EVENT_ID_BYTES) {
    if (isZero(eventIds, at)) continue;
    const hex = Buffer.from(eventIds.subarray(at, at + EVENT_ID_BYTES)).toString("hex");
    const text = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
    left.push({ at: at / EVENT_ID_BYTES, text });
  }
  return left;
}
