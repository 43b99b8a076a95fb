import { hash, randomFillSync } from "node:crypto";
import { DomainError } from "@fujie/kit/errors";
import { encodeEntry, entryLeafHash, FormatError, SALT_BYTES } from "@fujie/transparency";
import type { PreparedEntry } from "../log/entry.ts";
import type { SealDetails } from "../subjects/subject-keys.ts";
import type { NarrowEvent } from "./narrow-event.ts";

/** Asking the system for 32 bytes costs more than hashing an entry; one question serves many. */
const POOL_SALTS = 256;
const pool = Buffer.alloc(POOL_SALTS * SALT_BYTES);
let poolOffset = pool.length;

/** Makes an event's entry: its bytes, and the hash of the leaf that binds them. */
export function prepareEntry(event: NarrowEvent, sealDetails: SealDetails): PreparedEntry {
  const written = writeEntry(event, sealDetails);
  return { ...written, leafHash: entryLeafHash(written.preimage, written.salt) };
}

/** An entry's bytes: details sealed under their owner's key, the preimage and a fresh salt. */
export function writeEntry(event: NarrowEvent, sealDetails: SealDetails): Omit<PreparedEntry, "leafHash"> {
  const details = event.details === undefined ? undefined : sealDetails(event.keyOwner, event.eventId, event.details);
  const detailsSha256 = details === undefined ? new Uint8Array() : hash("sha256", details.sealed, "buffer");
  const entry = { ...event.entry, detailsSha256 };
  return { entry, preimage: encodePreimage(entry), salt: takeSalt(), details };
}

function encodePreimage(entry: NarrowEvent["entry"]): Uint8Array {
  try {
    return encodeEntry(entry);
  } catch (error) {
    if (error instanceof FormatError) throw new DomainError("EVENT_INVALID", { cause: error });
    throw error;
  }
}

function takeSalt(): Uint8Array {
  if (poolOffset >= pool.length) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const salt = Uint8Array.from(pool.subarray(poolOffset, poolOffset + SALT_BYTES));
  // A salt that was given out is nowhere else.
  pool.fill(0, poolOffset, poolOffset + SALT_BYTES);
  poolOffset += SALT_BYTES;
  return salt;
}
