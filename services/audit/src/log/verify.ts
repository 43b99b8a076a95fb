import { type Database, statement } from "@fujie/kit/db";
import {
  type Checkpoint,
  equalHashes,
  HASH_BYTES,
  root,
  splitHashes,
  TILE_WIDTH,
  type Verifier,
} from "@fujie/transparency";
import { digestOfEnded, readEndedRanges } from "../retention/ended.ts";
import { openCheckpoint } from "./checkpoints.ts";
import { readNames } from "./names.ts";
import type { TreeHead } from "./recovery.ts";
import { type Head, readCheckpoint } from "./store.ts";
import { startThreads } from "./threads.ts";
import { emptyTree, type FullTile, growTree, type Tree } from "./tree.ts";
import { type CheckedWindow, type Known, keyOf, storedTiles, type TileRow, type Windows, windowsOf } from "./window.ts";

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
  /** The same database's: with it the entries of a large log are hashed by several threads, each with a connection. */
  readonly url?: string;
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
const WINDOW_ENTRIES = 8 * TILE_WIDTH;
const EVENT_IDS_MAX = 20_000;
/** Smaller logs are verified before threads have started. */
const THREADS_FROM = 32 * WINDOW_ENTRIES;

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
const countEventIds = statement(
  "audit.verify.event_ids",
  `SELECT count(*) FILTER (WHERE index < $2::bigint)::int AS sealed,
     (array_agg(event_id))[count(*)::int] AS last
   FROM (SELECT event_id, index FROM audit.event WHERE event_id > $1::uuid ORDER BY event_id LIMIT $3) AS part`,
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
  const walk: Walk = { db, size, wanted, windows, report, onProgress: options.onProgress ?? (() => {}) };
  const [{ roots, services, lastDrop }, counts] = await Promise.all([rehash(walk), countRows(db, size)]);

  if (head !== undefined && !isRootOf(roots, head)) report("HEAD_MISMATCH");
  const fitting = checkpoints.filter((checkpoint) => isRootOf(roots, checkpoint));
  for (let missing = checkpoints.length - fitting.length; missing > 0; missing--) report("CHECKPOINT_MISMATCH");
  if (ranges.length > 0 && !equalHashes(lastDrop, digestOfEnded(ranges))) report("DROP_UNRECORDED");
  // Rows that are gone or unreadable are told already.
  if (findings.length === 0) checkTally(tally, services, size, ranges.length > 0, report);
  if (counts.unsealed !== 0) report("ENTRY_UNSEALED");
  // Every entry has its event id (checked row by row), so equal numbers leave no event id without its entry.
  if (counts.eventIds !== size) report("EVENT_ID_ALTERED");
  await checkReconciliation(db, report);
  const ended = ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
  return { size, checkpoints: fitting.length, ended, roots, findings };
}

function openWindows({ db, url }: VerifyOptions, size: number, known: Known): Windows {
  return url !== undefined && size >= THREADS_FROM ? startThreads(url, known) : windowsOf(db, known);
}

/** What a walk over the log needs. */
interface Walk {
  readonly db: Database;
  readonly size: number;
  readonly wanted: ReadonlySet<number>;
  readonly windows: Windows;
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
  const { db, size, wanted, windows, report } = walk;
  const walked: Walked = { roots: new Map(), services: new Map(), lastDrop: new Uint8Array() };
  let tree = emptyTree;
  const keepRoot = (now: Tree): void => {
    const at = now.frontier.size;
    if (at === size || wanted.has(at)) walked.roots.set(at, root(now.frontier));
  };
  keepRoot(tree);
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
    const { end, leaves } = window;
    for (const { kind, index } of window.findings) report(kind, index);
    for (const [service, entries] of window.services)
      walked.services.set(service, (walked.services.get(service) ?? 0) + entries);
    walked.lastDrop = window.lastDrop ?? walked.lastDrop;
    const full: FullTile[] = [];
    // In steps that end where a root is wanted.
    const stops = [...[...wanted].filter((at) => at > begin && at < end).sort((a, b) => a - b), end];
    for (const stop of stops) {
      const from = (tree.frontier.size - begin) * HASH_BYTES;
      const grown = growTree(tree, splitHashes(leaves.subarray(from, (stop - begin) * HASH_BYTES)));
      tree = grown.tree;
      full.push(...grown.full);
      keepRoot(tree);
    }
    checkTiles(full, window.tiles, report);
    // Higher tiles are not read with the leaves; there are few.
    const higher = full.filter(({ level }) => level > 0);
    checkTiles(higher, await storedTiles(db, higher), report, true);
    walk.onProgress(end, size);
  }
  return walked;
}

function checkTiles(
  full: readonly FullTile[],
  stored: ReadonlyMap<string, TileRow>,
  report: Report,
  higher = false,
): void {
  for (const tile of full) {
    if (tile.level > 0 !== higher) continue;
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

/** How many rows there are beyond the head, and event ids below it. */
async function countRows(db: Database, size: number): Promise<{ unsealed: number | undefined; eventIds: number }> {
  const [unsealed] = (await db.query<{ unsealed: number }>(countUnsealed())).rows;
  let eventIds = 0;
  for (let last: string | null = "00000000-0000-0000-0000-000000000000"; last !== null; ) {
    const query = countEventIds(last, size, EVENT_IDS_MAX);
    const [row] = (await db.query<{ sealed: number; last: string | null }>(query)).rows;
    eventIds += row?.sealed ?? 0;
    last = row?.last ?? null;
  }
  return { unsealed: unsealed?.unsealed, eventIds };
}
