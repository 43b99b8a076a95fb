/**
 * Faces of synthetic people: grey pictures of 64 by 64 whose first row says whose they are and how well they are taken.
 * The same for ever for one number. Nothing in them is or resembles a person.
 */
import { createHash } from "node:crypto";
import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIDE = 64;
const SIGNATURE = Buffer.from("89504e470d0a1a0a", "hex");
const MARK = Buffer.from("fujie");
const OWNER_BYTES = 8;
const ROW_BYTES = SIDE + 1;
/** How alike a good picture is to the one that the source has on file, in thousandths. */
export const LIKENESS_GOOD = 960;
/** As like as two different people are. */
const LIKENESS_STRANGERS_MAX = 300;

/** A PNG of the face of whoever has this number; `likeness`, in thousandths, is what a comparison will find. */
export function faceImageOf(citizenId: string, likeness: number = LIKENESS_GOOD): Uint8Array {
  const owner = ownerOf(citizenId);
  const level = Buffer.alloc(2);
  level.writeUInt16BE(likeness);
  const pixels = Buffer.alloc(ROW_BYTES * SIDE);
  for (let row = 1; row < SIDE; row++) {
    for (let column = 1; column < ROW_BYTES; column++) {
      pixels[row * ROW_BYTES + column] = ((owner[(row + column) % OWNER_BYTES] ?? 0) + row * column) & 0xff;
    }
  }
  Buffer.concat([MARK, owner, level]).copy(pixels, 1);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIDE, 0);
  header.writeUInt32BE(SIDE, 4);
  header[8] = 8;
  // Stored and not compressed: compressors differ, and a picture is to be the same on every machine.
  const parts = [
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(pixels, { level: 0 })),
    chunk("IEND", Buffer.alloc(0)),
  ];
  return new Uint8Array(Buffer.concat([SIGNATURE, ...parts]));
}

/** How alike the picture is to whoever has this number, in thousandths; a picture that is none of ours resembles nobody. */
export function similarityTo(citizenId: string, image: Uint8Array): number {
  const row = firstRow(Buffer.from(image));
  if (row === undefined || !row.subarray(0, MARK.length).equals(MARK)) return 0;
  const owner = row.subarray(MARK.length, MARK.length + OWNER_BYTES);
  if (!owner.equals(ownerOf(citizenId))) return (owner[0] ?? 0) % LIKENESS_STRANGERS_MAX;
  return Math.min(1_000, row.readUInt16BE(MARK.length + OWNER_BYTES));
}

function firstRow(image: Buffer): Buffer | undefined {
  if (!image.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return undefined;
  const at = image.indexOf("IDAT");
  if (at < 4) return undefined;
  const data = image.subarray(at + 4, at + 4 + image.readUInt32BE(at - 4));
  try {
    const pixels = inflateSync(data, { maxOutputLength: ROW_BYTES * SIDE });
    return pixels.length === ROW_BYTES * SIDE ? pixels.subarray(1, ROW_BYTES) : undefined;
  } catch {
    return undefined;
  }
}

function ownerOf(citizenId: string): Buffer {
  return createHash("sha256").update(`fujie-sandbox-face\n${citizenId}`).digest().subarray(0, OWNER_BYTES);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}
