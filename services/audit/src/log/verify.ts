import { availableParallelism } from "node:os";
import { type Database, statement } from "@fujie/kit/db";
import {
  append,
  type Checkpoint,
  equalHashes,
  type Frontier,
  HASH_BYTES,
  root,
  splitHashes,
  TILE_WIDTH,
  type Verifier,
} from "@fujie/transparency";
import { digestOfEnded, readEndedRanges } from "../retention/ended.ts";
import type { CheckedWindow, Known } from "./check-rows.ts";
import { openCheckpoint } from "./checkpoints.ts";
import { type EventIds, openEventIds } from "./event-ids.ts";
import { readNames } from "./names.ts";
import type { TreeHead } from "./recovery.ts";
import { type Head, readCheckpoint } from "./store.ts";
import { startThreads } from "./threads.ts";
import { emptyTree, type FullTile, growTree, type Tree } from "./tree.ts";
import { keyOf, storedTiles, type TileRow, type Windows, windowsOf } from "./window.ts";

/** One thing that is not as it was sealed; `index` is the entry's, or the first one's under the tile. */
export interface Finding {
  readonly kind: /** The row is gone. */
    | "ENTRY_MISSING"
    /** The row is not what its leaf binds: a column or the sealed details were changed, or it was moved. */
    | "ENTRY_ALTERED"
    /** There is a row beyond the head. */
    | "ENTRY_UNSEALED"
    /** Event ids and entries are not one to one. */
    | "EVENT_ID_ALTERED"
    /** A stored tile is missing, or not the hashes below it. */
    | "TILE_ALTERED"
    /** The head is missing, or not the root of the entries. */
    | "HEAD_MISMATCH"
    /** A checkpoint is missing, or not signed by the log's keys. */
    | "CHECKPOINT_SIGNATURE_INVALID"
    /** A checkpoint states a root that the entries do not have at its size, or a size that the log does not reach. */
    | "CHECKPOINT_MISMATCH"
    /** The counted events of a service are not those in the log. */
    | "TALLY_MISMATCH"
    /** Entries are marked as ended, and the log holds no record of it. */
    | "DROP_UNRECORDED"
    /** A service recorded events that neither wait in its outbox nor are in the log. */
    | "OUTBOX_ROW_MISSING";
  readonly index?: number;
  /** The service that it is about. */
  readonly what?: string;
}

export interface LogReport {
  readonly size: number;
  /** Checkpoints whose signatures and roots fit, the published one included. */
  readonly checkpoints: number;
  /** Entries that ended with their partitions, as the log itself records; their hashes are in the tiles. */
  readonly ended: number;
  /** By size, the roots of the entries: at the end, at the checkpoints, and at the sizes that were asked for. */
  readonly roots: ReadonlyMap<number, Uint8Array>;
  /** Empty when the log is what was sealed. At most 100: the first ones tell where to look. */
  readonly findings: readonly Finding[];
}

export interface VerifyOptions {
  readonly db: Database;
  readonly origin: string;
  /** The log's public keys (`checkpointVerifiers`), from the signed bundle rather than from the service. */
  readonly verifiers: readonly Verifier[];
  /** Notes that were remembered elsewhere: only they show a rollback to an older state. */
  readonly remembered?: readonly string[];
  /** Sizes of which the root is wanted. */
  readonly sizes?: readonly number[];
  /** Called now and then with the number of entries that are checked. */
  readonly onProgress?: (entries: number, size: number) => void;
}

type Report = (kind: Finding["kind"], index?: number, what?: string) => void;

const FINDINGS_MAX = 100;
/** Whole tiles. */
const WINDOW_ENTRIES = 16 * TILE_WIDTH;
/** Smaller logs are verified before threads have started. */
const THREADS_FROM = 16_384;

// Moved together, read together.
const findMoment = statement(
  "audit.verify.moment",
  `SELECT origin, size::float8 AS size, root, epoch::float8 AS epoch,
     (SELECT jsonb_object_agg(service, sealed) FROM audit.tally) AS tally
   FROM audit.head`,
);
const findUnreconciled = statement(
  "audit.verify.reconciliation",
  `SELECT service FROM audit.reconciliation WHERE missing <> 0 ORDER BY service`,
);
// One statement sees one moment: what is being appended meanwhile is in both or in neither.
const countUnsealed = statement(
  "audit.verify.unsealed",
  `SELECT count(*)::int AS unsealed FROM audit.entry WHERE index >= (SELECT size FROM audit.head)`,
);
/**
 * Reads the whole log from entry 0 and hashes it again: every row against its leaf, every tile against the leaves, the
 * head and every checkpoint against the root. Whatever somebody changed, removed or moved in the database is a finding;
 * a rollback of the whole database is one only against a checkpoint that was remembered elsewhere.
 * The log may grow meanwhile. Nothing of an entry is in the report.
 */
export async function verifyLog(options: VerifyOptions): Promise<LogReport> {
  const { db, origin, verifiers, remembered = [], sizes = [] } = options;
  const findings: Finding[] = [];
  const report: Report = (kind, index, what) => {
    if (findings.length >= FINDINGS_MAX) return;
    findings.push({ kind, ...(index === undefined ? {} : { index }), ...(what === undefined ? {} : { what }) });
  };
  const published = await readCheckpoint(db);
  const { head, tally } = await readMoment(db);
  if (head === undefined || head.origin !== origin) report("HEAD_MISMATCH");
  const size = head?.size ?? 0;

  const checkpoints: Checkpoint[] = [];
  for (const note of [published?.note ?? "", ...remembered]) {
    const checkpoint = openCheckpoint(note, verifiers, origin);
    if (checkpoint === undefined) report("CHECKPOINT_SIGNATURE_INVALID");
    else checkpoints.push(checkpoint);
  }
  const wanted = new Set([...sizes, ...checkpoints.map((checkpoint) => checkpoint.size)]);
  const ranges = await readEndedRanges(db);
  // After the head: every name below its size is there.
  const names = await readNames(db);
  await using windows = openWindows(options, size, { names, ranges });
  const eventIds = await openEventIds({
    db,
    size,
    windowEntries: WINDOW_ENTRIES,
    onAltered: (index) => report("EVENT_ID_ALTERED", index),
  });
  const walk: Walk = { db, size, wanted, windows, eventIds, report, onProgress: options.onProgress ?? (() => {}) };
  const { roots, services, lastDrop } = await rehash(walk);
  const eventCount = await eventIds.finish();
  const [unsealed] = (await db.query<{ unsealed: number }>(countUnsealed())).rows;

  if (head !== undefined && !isRootOf(roots, head)) report("HEAD_MISMATCH");
  const fitting = checkpoints.filter((checkpoint) => isRootOf(roots, checkpoint));
  for (let missing = checkpoints.length - fitting.length; missing > 0; missing--) report("CHECKPOINT_MISMATCH");
  if (ranges.length > 0 && !equalHashes(lastDrop, digestOfEnded(ranges))) report("DROP_UNRECORDED");
  // Rows that are gone or unreadable are told already.
  if (findings.length === 0) checkTally(tally, services, size, ranges.length > 0, report);
  if (unsealed?.unsealed !== 0) report("ENTRY_UNSEALED");
  // Every entry has its event id, so equal numbers leave no event id without its entry.
  if (eventCount !== size) report("EVENT_ID_ALTERED");
  await checkReconciliation(db, report);
  const ended = ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
  return { size, checkpoints: fitting.length, ended, roots, findings };
}

function openWindows({ db }: VerifyOptions, size: number, known: Known): Windows {
  const threadsHelp = size >= THREADS_FROM && availableParallelism() > 1;
  return threadsHelp ? startThreads(db, known) : windowsOf(db, known);
}

/** What a walk over the log needs. */
interface Walk {
  readonly db: Database;
  readonly size: number;
  readonly wanted: ReadonlySet<number>;
  readonly windows: Windows;
  readonly eventIds: EventIds;
  readonly report: Report;
  readonly onProgress: (entries: number, size: number) => void;
}

/** What a walk over the log learns. */
interface Walked {
  readonly roots: Map<number, Uint8Array>;
  /** Entries by the service that recorded them. */
  readonly services: Map<string, number>;
  /** What the log last recorded of ended entries. */
  lastDrop: Uint8Array;
}

/** Hashes the entries below `size`; gives the roots at the wanted sizes and at the end. */
async function rehash(walk: Walk): Promise<Walked> {
  const { db, size, wanted, windows, eventIds, report } = walk;
  const walked: Walked = { roots: new Map(), services: new Map(), lastDrop: new Uint8Array() };
  const keepRoot = (frontier: Frontier): void => {
    if (frontier.size === size || wanted.has(frontier.size)) walked.roots.set(frontier.size, root(frontier));
  };
  /** The tree whose leaves are the roots of the full tiles of level 0. */
  let tiles = emptyTree;
  keepRoot(tiles.frontier);
  const coming: Promise<CheckedWindow>[] = [];
  let asked = 0;
  for (let begin = 0; begin < size; begin += WINDOW_ENTRIES) {
    for (; asked < size && coming.length < windows.ahead; asked += WINDOW_ENTRIES) {
      const next = windows.check(asked, Math.min(size, asked + WINDOW_ENTRIES));
      // Awaited in a later round; until then a rejection must not count as unhandled.
      next.catch(() => {});
      coming.push(next);
    }
    const window = await coming.shift();
    if (window === undefined) break;
    for (const { kind, index } of window.findings) report(kind, index);
    for (const [service, entries] of window.services)
      walked.services.set(service, (walked.services.get(service) ?? 0) + entries);
    walked.lastDrop = window.lastDrop ?? walked.lastDrop;
    const full: FullTile[] = [];
    // In steps that end where a root is wanted.
    const stops = [...[...wanted].filter((at) => at > begin && at < window.end).sort((a, b) => a - b), window.end];
    for (const stop of stops) {
      const grown = growTree(tiles, rootsBetween(window, tiles.frontier.size, Math.floor(stop / TILE_WIDTH)));
      tiles = grown.tree;
      full.push(...grown.full.map((tile) => ({ ...tile, level: tile.level + 1 })));
      keepRoot(frontierAt(tiles, window, stop));
    }
    // Tiles of level 0 were checked with their leaves.
    checkTiles(full, await storedTiles(db, full), report);
    await eventIds.compare(begin, window.eventIds);
    walk.onProgress(window.end, size);
  }
  return walked;
}

/** The roots of a window's full tiles from one to another, by their place in the log. */
function rootsBetween({ begin, roots }: CheckedWindow, from: number, until: number): Uint8Array[] {
  const first = begin / TILE_WIDTH;
  return splitHashes(roots.subarray((from - first) * HASH_BYTES, (until - first) * HASH_BYTES));
}

/** The tree over the leaves below `size`, fewer than 256 of which are in none of the full tiles. */
function frontierAt(tiles: Tree, { begin, leaves }: CheckedWindow, size: number): Frontier {
  // A tile's root is a node of the log's tree: both trees have the same widest nodes.
  const frontier = { size: tiles.frontier.size * TILE_WIDTH, hashes: tiles.frontier.hashes };
  return append(
    frontier,
    splitHashes(leaves.subarray((frontier.size - begin) * HASH_BYTES, (size - begin) * HASH_BYTES)),
  );
}

function checkTiles(full: readonly FullTile[], stored: ReadonlyMap<string, TileRow>, report: Report): void {
  for (const tile of full) {
    const row = stored.get(keyOf(tile));
    if (row !== undefined && equalHashes(row.hashes, tile.hashes) && equalHashes(row.root, tile.root)) continue;
    report("TILE_ALTERED", tile.index * TILE_WIDTH ** (tile.level + 1));
  }
}

function isRootOf(roots: ReadonlyMap<number, Uint8Array>, { size, root: stated }: TreeHead): boolean {
  const computed = roots.get(size);
  return computed !== undefined && equalHashes(computed, stated);
}

/** All services together have sealed what the head counts; one by one, as long as every entry is still there. */
function checkTally(
  tally: Readonly<Record<string, number>>,
  services: ReadonlyMap<string, number>,
  size: number,
  hasEnded: boolean,
  report: Report,
): void {
  const total = Object.values(tally).reduce((sum, sealed) => sum + sealed, 0);
  if (total !== size) report("TALLY_MISMATCH");
  // Entries from before the tally are counted under no name; of entries that ended, nothing tells whose they were.
  else if (!hasEnded && tally[""] === undefined)
    for (const [service, sealed] of Object.entries(tally))
      if ((services.get(service) ?? 0) !== sealed) report("TALLY_MISMATCH", undefined, service);
}

async function checkReconciliation(db: Database, report: Report): Promise<void> {
  const { rows } = await db.query<{ service: string }>(findUnreconciled());
  for (const { service } of rows) report("OUTBOX_ROW_MISSING", undefined, service);
}

/** The head and what belongs to its moment. */
async function readMoment(db: Database): Promise<{ head: Head | undefined; tally: Readonly<Record<string, number>> }> {
  const [row] = (
    await db.query<Head & { tally: Record<string, number> | null } & Record<string, unknown>>(findMoment())
  ).rows;
  return { head: row, tally: row?.tally ?? {} };
}
