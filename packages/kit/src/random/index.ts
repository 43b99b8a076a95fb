/**
 * Random bytes for what is needed often: IVs, ids, salts. Asking the system costs about the same for 16 bytes as for
 * thousands, so one question serves many.
 */
import { randomFillSync } from "node:crypto";

const POOL_BYTES = 16_384;
const pool = Buffer.alloc(POOL_BYTES);
let offset = POOL_BYTES;

/** Fresh random bytes, at most 1,024: a copy of its own, of which nothing is left behind. */
export function takeRandomBytes(size: number): Buffer {
  if (!Number.isInteger(size) || size < 1 || size > 1_024) throw new RangeError("1 to 1,024 random bytes at once");
  if (offset + size > POOL_BYTES) {
    randomFillSync(pool);
    offset = 0;
  }
  const bytes = Buffer.alloc(size);
  pool.copy(bytes, 0, offset, offset + size);
  // Who reads the process's memory later finds the next ones at most.
  pool.fill(0, offset, offset + size);
  offset += size;
  return bytes;
}
