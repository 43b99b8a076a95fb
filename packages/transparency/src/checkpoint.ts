import { FormatError } from "./errors.ts";
import { emptyRoot, equalHashes, isHash, isSize } from "./merkle.ts";
import { decodeBase64, encodeBase64, isControlFree, parseDecimal } from "./text.ts";

/**
 * The text of a log's signed tree head (c2sp.org/tlog-checkpoint): origin, size, root, one per line, then extension
 * lines if any. Sign it with `signNote`, read it with `openNote`.
 */
export type Checkpoint = {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
  readonly extensions: readonly string[];
};

/** Writes a checkpoint's text. Throws FormatError for one that `parseCheckpoint` would refuse. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  requireCheckpoint(checkpoint);
  const { origin, size, root, extensions } = checkpoint;
  return [origin, size, encodeBase64(root), ...extensions, ""].join("\n");
}

/** Reads a checkpoint's text. Throws FormatError for anything but the one right spelling. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root, ...rest] = text.split("\n");
  if (origin === undefined || size === undefined || root === undefined || rest.pop() !== "")
    throw new FormatError("checkpoint", "not at least three whole lines");
  const checkpoint = {
    origin,
    size: parseDecimal(size, "checkpoint.size"),
    root: decodeBase64(root, "checkpoint.root"),
    extensions: rest,
  };
  requireCheckpoint(checkpoint);
  return checkpoint;
}

function requireCheckpoint({ origin, size, root, extensions }: Checkpoint): void {
  if (!isLine(origin)) throw new FormatError("checkpoint.origin", "not a non-empty line of printable text");
  if (!isSize(size)) throw new FormatError("checkpoint.size", "not an integer from 0 to 2^53 − 1");
  if (!isHash(root)) throw new FormatError("checkpoint.root", "not 32 bytes");
  if (size === 0 && !equalHashes(root, emptyRoot()))
    throw new FormatError("checkpoint.root", "not the root of an empty tree");
  if (!extensions.every(isLine))
    throw new FormatError("checkpoint.extensions", "not non-empty lines of printable text");
}

function isLine(line: string): boolean {
  return line !== "" && isControlFree(line) && line.isWellFormed();
}
