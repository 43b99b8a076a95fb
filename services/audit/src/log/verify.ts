import { createHash } from "node:crypto";
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
  TILE_WIDTH,
  type Verifier,
} from "@fujie/transparency";
import { indexesOf } from "../events/store.ts";
import { openCheckpoint } from "./checkpoints.ts";
import type { TreeHead } from "./recovery.ts";
import { readCheckpoint, readHead } from "./store.ts";
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
    | "CHECKPOINT_MISMATCH";
  readonly index?: number;
}

export interface LogReport {
  readonly size: number;
  /** Checkpoints whose signatures and roots fit, the published one included. */
  readonly checkpoints: number;
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
  readonly hashes: Buffer;
  readonly root: Buffer;
}

type Report = (kind: Finding["kind"], index?: number) => void;

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
export async function verifyLog({ db, origin, verifiers, remembered = [] }: VerifyOptions): Promise<LogReport> {
  const findings: Finding[] = [];
  const report: Report = (kind, index) => {
    if (findings.length < FINDINGS_MAX) findings.push(index === undefined ? { kind } : { kind, index });
  };
  const published = await readCheckpoint(db);
  const head = await readHead(db);
  if (head === undefined || head.origin !== origin) report("HEAD_MISMATCH");
  const size = head?.size ?? 0;

  const checkpoints: Checkpoint[] = [];
  for (const note of [published?.note ?? "", ...remembered]) {
    const checkpoint = openCheckpoint(note, verifiers, origin);
    if (checkpoint === undefined) report("CHECKPOINT_SIGNATURE_INVALID");
    else checkpoints.push(checkpoint);
  }
  const wanted = new Set(checkpoints.map((checkpoint) => checkpoint.size));
  const roots = await rehash(db, size, wanted, report);

  if (head !== undefined && !isRootOf(roots, head)) report("HEAD_MISMATCH");
  const fitting = checkpoints.filter((checkpoint) => isRootOf(roots, checkpoint));
  for (let missing = checkpoints.length - fitting.length; missing > 0; missing--) report("CHECKPOINT_MISMATCH");
  await checkCounts(db, size, report);
  return { size, checkpoints: fitting.length, findings };
}

/** Hashes the entries below `size`; gives the roots at the wanted sizes and at the end. */
async function rehash(
  db: Database,
  size: number,
  wanted: ReadonlySet<number>,
  report: Report,
): Promise<Map<number, Uint8Array>> {
  const roots = new Map<number, Uint8Array>();
  let tree = emptyTree;
  const keepRoot = (now: Tree): void => {
    const at = now.frontier.size;
    if (at === size || wanted.has(at)) roots.set(at, root(now.frontier));
  };
  keepRoot(tree);
  for (let begin = 0; begin < size; begin += WINDOW_ENTRIES) {
    const end = Math.min(size, begin + WINDOW_ENTRIES);
    const leaves = await checkWindow(db, begin, end, report);
    const full: FullTile[] = [];
    // In steps that end where a root is wanted.
    const stops = [...[...wanted].filter((at) => at > begin && at < end).sort((a, b) => a - b), end];
    for (const stop of stops) {
      const grown = growTree(tree, leaves.slice(tree.frontier.size - begin, stop - begin));
      tree = grown.tree;
      full.push(...grown.full);
      keepRoot(tree);
    }
    await checkTiles(db, full, report);
  }
  return roots;
}

/** Checks the rows of a window; gives the leaf hashes to go on with, which are the tiles' where they are stored. */
async function checkWindow(db: Database, begin: number, end: number, report: Report): Promise<Uint8Array[]> {
  const { rows } = await db.query<Row & Record<string, unknown>>(readRows(begin, end));
  const byIndex = new Map(rows.map((row) => [row.index, row]));
  const tiled = await readLeafTiles(db, begin, end);
  const entries = new Map(rows.map((row) => [row.index, readEntry(row)]));
  const eventIds = [...entries.values()].flatMap((entry) => (entry === undefined ? [] : [entry.eventId]));
  const indexes = await indexesOf(db, eventIds);

  return Array.from({ length: end - begin }, (_, at) => {
    const index = begin + at;
    const row = byIndex.get(index);
    const stored = tiled[at];
    if (row === undefined) {
      report("ENTRY_MISSING", index);
      return stored ?? new Uint8Array(HASH_BYTES);
    }
    const entry = entries.get(index);
    const hash = entryLeafHash(row.preimage, row.salt);
    if (entry === undefined || (stored !== undefined && !equalHashes(hash, stored))) report("ENTRY_ALTERED", index);
    if (entry !== undefined) checkRow(row, entry, indexes.get(entry.eventId), report);
    return stored ?? hash;
  });
}

function checkRow(row: Row, entry: LogEntry, found: number | undefined, report: Report): void {
  if (found !== row.index) report("EVENT_ID_ALTERED", row.index);
  const told = [entry.timeMs, entry.type, entry.traceId, entry.subject, entry.actor, entry.applicationId];
  const columns = [row.time_ms, row.type, row.trace_id, row.subject, row.actor, row.application_id];
  if (columns.some((column, at) => (column ?? "") !== told[at])) report("COLUMNS_ALTERED", row.index);
  const digest = row.details === null ? Buffer.of() : createHash("sha256").update(row.details).digest();
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

/** The leaf hashes that the stored tiles have for these entries; undefined where no tile is stored. */
async function readLeafTiles(db: Database, begin: number, end: number): Promise<(Uint8Array | undefined)[]> {
  const first = begin / TILE_WIDTH;
  const wanted = Array.from({ length: Math.ceil((end - begin) / TILE_WIDTH) }, (_, at) => first + at);
  const tiles = await storedTiles(
    db,
    wanted.map((index) => ({ level: 0, index })),
  );
  return Array.from({ length: end - begin }, (_, at) => {
    const offset = (at % TILE_WIDTH) * HASH_BYTES;
    return tiles
      .get(keyOf({ level: 0, index: first + Math.floor(at / TILE_WIDTH) }))
      ?.hashes.subarray(offset, offset + HASH_BYTES);
  });
}

async function checkTiles(db: Database, full: readonly FullTile[], report: Report): Promise<void> {
  const stored = await storedTiles(db, full);
  for (const tile of full) {
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
  return new Map(rows.map((row) => [keyOf(row), row]));
}

function keyOf({ level, index }: TileId): string {
  return `${level}/${index}`;
}

function isRootOf(roots: ReadonlyMap<number, Uint8Array>, { size, root: stated }: TreeHead): boolean {
  const computed = roots.get(size);
  return computed !== undefined && equalHashes(computed, stated);
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
