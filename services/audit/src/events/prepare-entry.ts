import { hash } from "node:crypto";
import { DomainError } from "@fujie/kit/errors";
import { takeRandomBytes } from "@fujie/kit/random";
import { encodeEntry, entryLeafHash, FormatError, SALT_BYTES } from "@fujie/transparency";
import type { PreparedEntry } from "../log/entry.ts";
import type { SealDetails } from "../subjects/subject-keys.ts";
import type { NarrowEvent } from "./narrow-event.ts";

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
  return { entry, preimage: encodePreimage(entry), salt: new Uint8Array(takeRandomBytes(SALT_BYTES)), details };
}

function encodePreimage(entry: NarrowEvent["entry"]): Uint8Array {
  try {
    return encodeEntry(entry);
  } catch (error) {
    if (error instanceof FormatError) throw new DomainError("EVENT_INVALID", { cause: error });
    throw error;
  }
}
