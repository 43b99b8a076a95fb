/** Whether bytes are a whole picture of a face's size, by content and not by name: no source is paid for anything else. Pure. */

export const FACE_IMAGE_BYTES_MAX = 512 * 1024;
const SIDE_MIN = 32;
const SIDE_MAX = 4_096;

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Reads no pixels: signature, size and end of a JPEG (ISO/IEC 10918-1) or PNG (ISO/IEC 15948). */
export function isFaceImage(bytes: Uint8Array): boolean {
  if (bytes.length > FACE_IMAGE_BYTES_MAX) return false;
  const image = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = pngSize(image) ?? jpegSize(image);
  return size !== undefined && [size.width, size.height].every((side) => side >= SIDE_MIN && side <= SIDE_MAX);
}

const PNG_BEGIN = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
const PNG_END = Buffer.from("0000000049454e44ae426082", "hex");

function pngSize(image: Buffer): Size | undefined {
  const whole =
    image.length > PNG_BEGIN.length + 8 + PNG_END.length &&
    image.subarray(0, PNG_BEGIN.length).equals(PNG_BEGIN) &&
    image.subarray(-PNG_END.length).equals(PNG_END);
  return whole ? { width: image.readUInt32BE(16), height: image.readUInt32BE(20) } : undefined;
}

const MARKER = 0xff;
const START_OF_SCAN = 0xda;
const NO_FRAMES: ReadonlySet<number> = new Set([0xc4, 0xc8, 0xcc]);

function jpegSize(image: Buffer): Size | undefined {
  if (image.length < 4 || image.readUInt16BE(0) !== 0xffd8) return undefined;
  if (image.readUInt16BE(image.length - 2) !== 0xffd9) return undefined;
  let at = 2;
  while (at + 9 < image.length && image[at] === MARKER) {
    const marker = image[at + 1] ?? 0;
    // The size stands in the frame's header, before the first scan.
    if (marker === START_OF_SCAN) return undefined;
    if (marker >= 0xc0 && marker <= 0xcf && !NO_FRAMES.has(marker)) {
      return { height: image.readUInt16BE(at + 5), width: image.readUInt16BE(at + 7) };
    }
    at += 2 + image.readUInt16BE(at + 2);
  }
  return undefined;
}
