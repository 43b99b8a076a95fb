import { type Database, statement } from "@fujie/kit/db";
import {
  type Checkpoint,
  decodeEntry,
  entryLeafHash,
  equalHashes,
  FormatError,
  HASH_BYTES,
  type LogEntry,
  root,
  sha256,
  TILE_WIDTH,
  type Verifier,
} from "@fujie/transparency";
import { indexesOf } from "../events/store.ts";
import { DROPPED_TYPE, digestOfEnded, type EndedRange, isEnded, readEndedRanges } from "../retention/ended.ts";
import { openCheckpoint } from "./checkpoints.ts";
import type { TreeHead } from "./recovery.ts";
import { type Head, readCheckpoint } from "./store.ts";
import { emptyTree, type FullTile, growTree, type Tree } from "./tree.ts";

/** One thing that is not as it was sealed; `index` is the entry's, or the first one's under the tile. */
export interface Finding {
  readonly kind: /** The row is gone. */
    | "ENTRY_MISSING"
    /** The row is not what its leaf binds: changed, or moved. */
    | "ENTRY_ALTERED"
    /** There is a row beyond the head. */
    | "ENTRY_UNSEALED"
    /** The columns that are searched by do not say what the preimage says. */
    | "COLUMNS_ALTERED"
    /** The sealed details are not those that the preimage binds. */
    | "DETAILS_ALTERED"
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

interface Row {
  readonly index: number;
  readonly time_ms: number;
  readonly type: string;
  readonly trace_id: string | null;
  readonly subject: string | null;
  readonly actor: string | null;
  readonly application_id: string | null;
  readonly salt: Buffer;
  readonly preimage: Buffer;
  readonly details: Buffer | null;
}

interface TileRow {
  readonly level: number;
  readonly index: number;
  readonly hashes: Uint8Array;
  readonly root: Uint8Array;
}

type Report = (kind: Finding["kind"], index?: number, what?: string) => void;

const FINDINGS_MAX = 100;
/** Whole tiles. */
const WINDOW_ENTRIES = 8 * TILE_WIDTH;
const EVENT_IDS_MAX = 20_000;

const readRows = statement(
  "audit.verify.rows",
  `SELECT index::float8 AS index, time_ms::float8 AS time_ms, type, trace_id, subject, actor, application_id, salt,
     preimage, details
   FROM audit.entry WHERE index >= $1::bigint AND index < $2::bigint ORDER BY entry.index`,
);
const readTiles = statement(
  "audit.verify.tiles",
  `SELECT tile.level, tile.index::float8 AS index, hashes, root
   FROM unnest($1::smallint[], $2::bigint[]) AS wanted (level, index) JOIN audit.tile USING (level, index)`,
);
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
     (array_agg(event_id ORDER BY event_id DESC))[1] AS last
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
  const walk: Walk = { db, size, wanted, ranges, report, onProgress: options.onProgress ?? (() => {}) };
  const { roots, services, lastDrop } = await rehash(walk);

  if (head !== undefined && !isRootOf(roots, head)) report("HEAD_MISMATCH");
  const fitting = checkpoints.filter((checkpoint) => isRootOf(roots, checkpoint));
  for (let missing = checkpoints.length - fitting.length; missing > 0; missing--) report("CHECKPOINT_MISMATCH");
  if (ranges.length > 0 && !equalHashes(lastDrop, digestOfEnded(ranges))) report("DROP_UNRECORDED");
  // Rows that are gone or unreadable are told already.
  if (findings.length === 0) checkTally(tally, services, size, ranges.length > 0, report);
  await checkCounts(db, size, report);
  await checkReconciliation(db, report);
  const ended = ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
  return { size, checkpoints: fitting.length, ended, roots, findings };
}

/** What a walk over the log needs. */
interface Walk {
  readonly db: Database;
  readonly size: number;
  readonly wanted: ReadonlySet<number>;
  readonly ranges: readonly EndedRange[];
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
  const { db, size, wanted, report } = walk;
  const walked: Walked = { roots: new Map(), services: new Map(), lastDrop: new Uint8Array() };
  let tree = emptyTree;
  const keepRoot = (now: Tree): void => {
    const at = now.frontier.size;
    if (at === size || wanted.has(at)) walked.roots.set(at, root(now.frontier));
  };
  keepRoot(tree);
  // The next window is on its way while this one is hashed.
  let coming = readWindow(db, 0, size);
  for (let begin = 0; begin < size; begin += WINDOW_ENTRIES) {
    const window = await coming;
    const { end } = window;
    coming = readWindow(db, end, size);
    // Awaited in the next round; until then a rejection must not count as unhandled.
    coming.catch(() => {});
    const leaves = checkWindow(walk, walked, window);
    const full: FullTile[] = [];
    // In steps that end where a root is wanted.
    const stops = [...[...wanted].filter((at) => at > begin && at < end).sort((a, b) => a - b), end];
    for (const stop of stops) {
      const grown = growTree(tree, leaves.slice(tree.frontier.size - begin, stop - begin));
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

/** The rows of a window with everything that they are compared with. */
interface Window {
  readonly begin: number;
  readonly end: number;
  readonly rows: readonly CheckedRow[];
  readonly tiles: ReadonlyMap<string, TileRow>;
}

interface CheckedRow extends Row {
  /** What the preimage says; undefined when it is none. */
  readonly entry: LogEntry | undefined;
  /** Where its event id leads to. */
  readonly eventIndex: number | undefined;
}

async function readWindow(db: Database, begin: number, size: number): Promise<Window> {
  const end = Math.min(size, begin + WINDOW_ENTRIES);
  if (begin >= end) return { begin, end: begin, rows: [], tiles: new Map() };
  const first = begin / TILE_WIDTH;
  const wanted = Array.from({ length: Math.ceil((end - begin) / TILE_WIDTH) }, (_, at) => first + at);
  const [{ rows }, tiles] = await Promise.all([
    db.query<Row & Record<string, unknown>>(readRows(begin, end)),
    storedTiles(
      db,
      wanted.map((index) => ({ level: 0, index })),
    ),
  ]);
  const read = rows.map((row) => ({ row, entry: readEntry(row) }));
  const eventIds = read.flatMap(({ entry }) => (entry === undefined ? [] : [entry.eventId]));
  const indexes = await indexesOf(db, eventIds);
  const checked = read.map(({ row, entry }) => ({ ...row, entry, eventIndex: indexes.get(entry?.eventId ?? "") }));
  return { begin, end, rows: checked, tiles };
}

/** Checks the rows of a window; gives the leaf hashes to go on with, which are the tiles' where they are stored. */
function checkWindow({ ranges, report }: Walk, walked: Walked, { begin, end, rows, tiles }: Window): Uint8Array[] {
  const leaves: Uint8Array[] = [];
  let next = 0;
  for (let index = begin; index < end; index++) {
    const stored = storedLeaf(tiles, index);
    const row = rows[next]?.index === index ? rows[next] : undefined;
    if (row === undefined) {
      if (stored === undefined || !isEnded(ranges, index)) report("ENTRY_MISSING", index);
      leaves.push(stored ?? new Uint8Array(HASH_BYTES));
      continue;
    }
    next += 1;
    const leaf = entryLeafHash(row.preimage, row.salt);
    if (stored !== undefined && !equalHashes(leaf, stored)) report("ENTRY_ALTERED", index);
    else if (row.entry === undefined) report("ENTRY_ALTERED", index);
    if (row.entry !== undefined) checkRow(row, row.entry, walked, report);
    leaves.push(stored ?? leaf);
  }
  return leaves;
}

/** The leaf hash that the stored tile has for an entry; undefined where no tile is stored. */
function storedLeaf(tiles: ReadonlyMap<string, TileRow>, index: number): Uint8Array | undefined {
  const tile = tiles.get(keyOf({ level: 0, index: Math.floor(index / TILE_WIDTH) }));
  const offset = (index % TILE_WIDTH) * HASH_BYTES;
  return tile?.hashes.subarray(offset, offset + HASH_BYTES);
}

function checkRow(row: CheckedRow, entry: LogEntry, walked: Walked, report: Report): void {
  walked.services.set(entry.service, (walked.services.get(entry.service) ?? 0) + 1);
  if (entry.type === DROPPED_TYPE && entry.service === "audit") walked.lastDrop = entry.digest;
  if (row.eventIndex !== row.index) report("EVENT_ID_ALTERED", row.index);
  const told = [entry.timeMs, entry.type, entry.traceId, entry.subject, entry.actor, entry.applicationId];
  const columns = [row.time_ms, row.type, row.trace_id, row.subject, row.actor, row.application_id];
  if (columns.some((column, at) => (column ?? "") !== told[at])) report("COLUMNS_ALTERED", row.index);
  const digest = row.details === null ? Buffer.of() : sha256(row.details);
  if (!equalHashes(digest, entry.detailsSha256)) report("DETAILS_ALTERED", row.index);
}

function readEntry({ preimage }: Row): LogEntry | undefined {
  try {
    return decodeEntry(preimage);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
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

type TileId = Pick<FullTile, "level" | "index">;

async function storedTiles(db: Database, tiles: readonly TileId[]): Promise<Map<string, TileRow>> {
  if (tiles.length === 0) return new Map();
  const { rows } = await db.query<TileRow & Record<string, unknown>>(
    readTiles(
      tiles.map(({ level }) => level),
      tiles.map(({ index }) => index),
    ),
  );
  // A plain array: its parts cost a fraction of a Buffer's.
  const plain = ({ buffer, byteOffset, length }: Uint8Array) => new Uint8Array(buffer, byteOffset, length);
  return new Map(rows.map((row) => [keyOf(row), { ...row, hashes: plain(row.hashes) }]));
}

function keyOf({ level, index }: TileId): string {
  return `${level}/${index}`;
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

/** Every entry has its event id (checked row by row), so equal numbers leave no event id without its entry. */
async function checkCounts(db: Database, size: number, report: Report): Promise<void> {
  const [unsealed] = (await db.query<{ unsealed: number }>(countUnsealed())).rows;
  if (unsealed?.unsealed !== 0) report("ENTRY_UNSEALED");
  let sealed = 0;
  for (let last: string | null = "00000000-0000-0000-0000-000000000000"; last !== null; ) {
    const query = countEventIds(last, size, EVENT_IDS_MAX);
    const [row] = (await db.query<{ sealed: number; last: string | null }>(query)).rows;
    sealed += row?.sealed ?? 0;
    last = row?.last ?? null;
  }
  if (sealed !== size) report("EVENT_ID_ALTERED");
}
