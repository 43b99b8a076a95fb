/**
 * A bundle of entries that is checked offline, for ever: a folder with
 *
 *   manifest.json   what is in it, with the SHA-256 of each file
 *   checkpoint      the signed note that everything leads to, with its cosignatures
 *   tile/…          the hash tiles of the range, and those on the paths from it to the root
 *   entries.jsonl   one entry a line: index, preimage, salt, sealed details
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";
import type { ExportEntriesResponse } from "@fujie/api/fujie/audit/v1/retention";
import {
  decodeEntry,
  decodeHashTile,
  entryLeafHash,
  equalHashes,
  FormatError,
  formatTilePath,
  proveInclusionFromTiles,
  type ReadTile,
  TILE_WIDTH,
  type Tile,
  verifyInclusion,
} from "@fujie/transparency";
import type { LogFinding } from "./findings.ts";
import { folderSource, type ReadResource, readNote } from "./log-source.ts";
import { openCheckpoint, originOf, type Trust, type TrustedCheckpoint } from "./trust.ts";

const FORMAT = "fujie.audit.bundle/1";
const ENTRIES_FILE = "entries.jsonl";

interface Manifest {
  readonly format: string;
  readonly origin: string;
  readonly begin: number;
  readonly end: number;
  readonly entries: number;
  /** By path, the SHA-256 in hexadecimal. */
  readonly files: Readonly<Record<string, string>>;
}

interface EntryLine {
  readonly index: number;
  readonly preimage: string;
  readonly salt: string;
  readonly sealedDetails?: string;
  readonly detailsKeyId?: string;
}

/** Writes the entries that a service streams, with the tiles and the checkpoint of the log. Gives how many there are. */
export async function writeBundle(
  folder: string,
  parts: AsyncIterable<ExportEntriesResponse>,
  read: ReadResource,
): Promise<number> {
  mkdirSync(folder, { recursive: true });
  let range: { begin: number; end: number } | undefined;
  let count = 0;
  await pipeline(
    async function* () {
      for await (const part of parts) {
        range = { begin: Number(part.beginIndex), end: Number(part.endIndex) };
        count += part.entries.length;
        yield part.entries.map((entry) => `${JSON.stringify(lineOf(entry))}\n`).join("");
      }
    },
    createWriteStream(join(folder, ENTRIES_FILE)),
  );
  if (range === undefined) throw new Error("the export was empty");
  const note = await checkpointOver(range.end, read);
  const files = new Map([["checkpoint", Buffer.from(note, "utf8")]]);
  for (const [path, bytes] of await tilesFor(range, sizeOf(note), read)) files.set(path, Buffer.from(bytes));
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  const hashes = [...files].map(([path, bytes]) => [path, createHash("sha256").update(bytes).digest("hex")] as const);
  const manifest: Manifest = {
    format: FORMAT,
    origin: originOf(note),
    ...range,
    entries: count,
    files: Object.fromEntries([[ENTRIES_FILE, await hashFile(join(folder, ENTRIES_FILE))], ...hashes]),
  };
  writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, undefined, 1)}\n`);
  return count;
}

function lineOf(entry: ExportEntriesResponse["entries"][number]): EntryLine {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  const { index, preimage, salt, sealedDetails, detailsKeyId } = entry;
  return {
    index: Number(index),
    preimage: base64(preimage),
    salt: base64(salt),
    ...(detailsKeyId === "" ? {} : { sealedDetails: base64(sealedDetails), detailsKeyId }),
  };
}

/** The witnessed checkpoint where it covers the range, else the newest. */
async function checkpointOver(end: number, read: ReadResource): Promise<string> {
  const witnessed = await read("witnessed-checkpoint");
  const note = witnessed === undefined ? undefined : Buffer.from(witnessed).toString("utf8");
  return note !== undefined && sizeOf(note) >= end ? note : readNote(read, "checkpoint");
}

function sizeOf(note: string): number {
  return Number(note.split("\n")[1]);
}

/** Every tile that proving the range needs. */
async function tilesFor(
  range: { readonly begin: number; readonly end: number },
  size: number,
  read: ReadResource,
): Promise<Map<string, Uint8Array>> {
  const needed = new Map<string, Uint8Array>();
  const readTile: ReadTile = async (tile) => {
    const path = formatTilePath(tile);
    const bytes = needed.get(path) ?? (await read(path));
    if (bytes === undefined) throw new Error(`${path} is not there`);
    needed.set(path, bytes);
    return bytes;
  };
  for (const tile of leafTiles(range, size)) {
    await readTile(tile);
    await proveInclusionFromTiles(tile.index * TILE_WIDTH, size, readTile);
  }
  return needed;
}

function leafTiles({ begin, end }: { readonly begin: number; readonly end: number }, size: number): Tile[] {
  const first = Math.floor(begin / TILE_WIDTH);
  return Array.from({ length: Math.ceil(end / TILE_WIDTH) - first }, (_, at) => ({
    level: 0,
    index: first + at,
    width: Math.min(TILE_WIDTH, size - (first + at) * TILE_WIDTH),
  }));
}

export interface BundleVerdict {
  readonly origin: string;
  readonly begin: number;
  readonly end: number;
  readonly entries: number;
  readonly checkpoint: TrustedCheckpoint | undefined;
  readonly findings: readonly LogFinding[];
}

/** Checks a bundle with nothing but the public keys. Errors: those of reading files, and a manifest that is none. */
export async function verifyBundle(folder: string, trust: Trust): Promise<BundleVerdict> {
  const manifest = readManifest(folder);
  const { origin, begin, end, entries } = manifest;
  const findings: LogFinding[] = [];
  for (const [path, expected] of Object.entries(manifest.files)) {
    const found = await hashFile(join(folder, path)).catch(() => undefined);
    if (found !== expected) findings.push({ kind: "FILE_ALTERED", what: path });
  }
  const source = folderSource(folder);
  const checkpoint = openCheckpoint(await readNote(source, "checkpoint"), trust);
  const verdict = { origin, begin, end, entries, checkpoint };
  if (checkpoint === undefined || checkpoint.origin !== origin || checkpoint.size < end)
    return { ...verdict, checkpoint: undefined, findings: [...findings, { kind: "CHECKPOINT_SIGNATURE_INVALID" }] };
  const leaves = await provenLeaves(source, manifest, checkpoint, findings);
  const count = await checkEntries(join(folder, ENTRIES_FILE), manifest, leaves, findings);
  if (count !== entries) findings.push({ kind: "ENTRY_MISSING", what: `${count} of ${entries} entries` });
  return { ...verdict, findings };
}

/** The leaf hashes of the range, each tile proven to be under the checkpoint's root. */
async function provenLeaves(
  source: ReadResource,
  manifest: Manifest,
  { size, root }: TrustedCheckpoint,
  findings: LogFinding[],
): Promise<ReadonlyMap<number, Uint8Array>> {
  const leaves = new Map<number, Uint8Array>();
  const readTile: ReadTile = async (tile) => {
    const bytes = await source(formatTilePath(tile));
    if (bytes === undefined) throw new FormatError("tile", "missing");
    return bytes;
  };
  for (const tile of leafTiles(manifest, size)) {
    const index = tile.index * TILE_WIDTH;
    try {
      const hashes = decodeHashTile(await readTile(tile), tile.width);
      const [leafHash = new Uint8Array()] = hashes;
      // The lower part of the path is made of all other hashes of the tile: proving the first leaf proves them all.
      const path = await proveInclusionFromTiles(index, size, readTile);
      if (verifyInclusion({ leafHash, index, size, path, root }).ok)
        for (const [at, hash] of hashes.entries()) leaves.set(index + at, hash);
      else findings.push({ kind: "TILE_ALTERED", index });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      findings.push({ kind: "TILE_MISSING", index });
    }
  }
  return leaves;
}

async function checkEntries(
  file: string,
  { begin, end }: Manifest,
  leaves: ReadonlyMap<number, Uint8Array>,
  findings: LogFinding[],
): Promise<number> {
  let count = 0;
  let next = begin;
  for await (const text of createInterface({ input: createReadStream(file) })) {
    const line = JSON.parse(text) as EntryLine;
    count += 1;
    const leaf = leaves.get(line.index);
    const isInOrder = line.index >= next && line.index < end;
    if (!isInOrder || leaf === undefined || !isBound(line, leaf))
      findings.push({ kind: "ENTRY_ALTERED", index: line.index });
    next = line.index + 1;
  }
  return count;
}

function isBound(line: EntryLine, leaf: Uint8Array): boolean {
  const preimage = Buffer.from(line.preimage, "base64");
  if (!equalHashes(entryLeafHash(preimage, Buffer.from(line.salt, "base64")), leaf)) return false;
  const details = Buffer.from(line.sealedDetails ?? "", "base64");
  const digest = details.length === 0 ? Buffer.of() : createHash("sha256").update(details).digest();
  return equalHashes(digest, decodeEntry(preimage).detailsSha256);
}

function readManifest(folder: string): Manifest {
  const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as Manifest;
  const { format, begin, end, files } = manifest;
  const isSound = format === FORMAT && Number.isSafeInteger(begin) && Number.isSafeInteger(end) && begin < end;
  if (!isSound || typeof files !== "object") throw new Error(`${folder} is not a bundle of the form ${FORMAT}`);
  // A path leads nowhere but into the bundle.
  if (Object.keys(files).some((path) => !/^[A-Za-z0-9][A-Za-z0-9./]*$/.test(path) || path.includes("..")))
    throw new Error("the manifest names a file outside the bundle");
  return manifest;
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
