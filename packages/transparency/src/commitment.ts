import { timingSafeEqual } from "node:crypto";
import { FormatError } from "./errors.ts";
import { sha256 } from "./sha256.ts";
import { refuse, type Verdict } from "./verdict.ts";

/**
 * Salted commitments: they bind a payload without telling it. Identifiers are few enough to enumerate, so what hides
 * them is the salt: 32 secret random bytes per commitment, known only to whom may open it.
 */

export const SALT_BYTES = 32;
export const COMMITMENT_BYTES = 32;
const LENGTH_BYTES = 8;

export type CommitmentRefusal = "SALT_MALFORMED" | "COMMITMENT_MALFORMED" | "COMMITMENT_MISMATCH";

/**
 * SHA-256(tag ‖ 0x00 ‖ salt ‖ uint64 payload length ‖ payload).
 *
 * `tag` says what is committed to (`fujie.receipt.claims.v1`), so that a commitment made for one use never opens in
 * another; it is 1 to 64 characters of `a-z 0-9 . / -`, which the 0x00 can't be part of, so that no tag is a prefix of
 * another. Errors: FormatError for a bad tag or a salt that is not 32 bytes.
 */
export function commit(tag: string, salt: Uint8Array, payload: Uint8Array): Uint8Array {
  if (tag !== checkedTag) checkTag(tag);
  if (salt.length !== SALT_BYTES) throw new FormatError("salt", "not 32 bytes");
  // In one piece: hashing bit by bit costs more than copying.
  const lengthAt = tag.length + 1 + SALT_BYTES;
  const end = lengthAt + LENGTH_BYTES + payload.length;
  const input = end > scratch.length ? Buffer.alloc(end) : scratch;
  input.write(tag, "latin1");
  input[tag.length] = 0;
  input.set(salt, tag.length + 1);
  input.writeUInt32BE(0, lengthAt);
  input.writeUInt32BE(payload.length, lengthAt + 4);
  input.set(payload, lengthAt + LENGTH_BYTES);
  const digest = sha256(input.subarray(0, end));
  input.fill(0, 0, end); // a payload is private: leave nothing of it behind
  return digest;
}

/** Most commitments are of one use, and not long: one check and one place serve them all. */
let checkedTag = "";
const scratch = Buffer.alloc(4096);

function checkTag(tag: string): void {
  if (!/^[a-z0-9./-]{1,64}$/.test(tag)) throw new FormatError("tag", "not 1 to 64 of a-z, 0-9, '.', '/', '-'");
  checkedTag = tag;
}

/** Opens a commitment, comparing in constant time. Throws only for a tag that is not one, which is the caller's own. */
export function verifyCommitment(
  commitment: Uint8Array,
  tag: string,
  salt: Uint8Array,
  payload: Uint8Array,
): Verdict<CommitmentRefusal> {
  if (salt.length !== SALT_BYTES) return refuse("SALT_MALFORMED");
  if (commitment.length !== COMMITMENT_BYTES) return refuse("COMMITMENT_MALFORMED");
  return timingSafeEqual(commit(tag, salt, payload), commitment) ? { ok: true } : refuse("COMMITMENT_MISMATCH");
}
