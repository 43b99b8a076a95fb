import { type CanonicalField, decodeCanonical, encodeCanonical } from "./canonical.ts";
import { commit } from "./commitment.ts";
import { FormatError } from "./errors.ts";
import { leafHash } from "./merkle.ts";

/**
 * The audit log's entry: what is bound by a leaf.
 *
 *   preimage = canonical record, version 1, of the fields below that are not empty
 *   leaf     = commit("fujie.audit.entry.v1", salt, preimage)      32 bytes: the entry of the public tiles
 *   node     = leafHash(leaf)                                      RFC 9162 §2.1.1
 *
 * The salt is secret to whoever may read the entry, so the public tree tells nothing; the details are bound by the
 * digest of their ciphertext, so that erasing them breaks no proof.
 */
export type LogEntry = {
  readonly timeMs: number;
  readonly service: string;
  readonly eventId: string;
  readonly type: string;
  /** SUCCESS, REFUSED, FAILED or PENDING. */
  readonly outcome: string;
  readonly actor: string;
  readonly subject: string;
  readonly applicationId: string;
  readonly organisationId: string;
  readonly traceId: string;
  readonly purpose: string;
  readonly reason: string;
  /** SHA-256 of the sealed details; empty when there are none. */
  readonly detailsSha256: Uint8Array;
  /** SHA-256 of what the event fixes in the log (a batch of receipts, a report, a document); empty when nothing. */
  readonly digest: Uint8Array;
};

export const ENTRY_COMMITMENT_TAG = "fujie.audit.entry.v1";
const ENTRY_VERSION = 1;

const TIME_TAG = 1;
const DETAILS_TAG = 13;
const DIGEST_TAG = 14;
/** The text fields by tag: a tag is never used again for anything else. */
const textTags = {
  2: "service",
  3: "eventId",
  4: "type",
  5: "outcome",
  6: "actor",
  7: "subject",
  8: "applicationId",
  9: "organisationId",
  10: "traceId",
  11: "purpose",
  12: "reason",
} as const satisfies Record<number, keyof LogEntry>;

type TextField = (typeof textTags)[keyof typeof textTags];

/** The entry's preimage. Errors: FormatError naming the field by tag. */
export function encodeEntry(entry: LogEntry): Uint8Array {
  const fields: CanonicalField[] = [[TIME_TAG, BigInt(entry.timeMs)]];
  for (const [tag, name] of Object.entries(textTags)) {
    if (entry[name] !== "") fields.push([Number(tag), entry[name]]);
  }
  if (entry.detailsSha256.length > 0) fields.push([DETAILS_TAG, entry.detailsSha256]);
  if (entry.digest.length > 0) fields.push([DIGEST_TAG, entry.digest]);
  return encodeCanonical(ENTRY_VERSION, fields);
}

/** Reads a preimage back. Errors: FormatError for anything that `encodeEntry` would not have written. */
export function decodeEntry(preimage: Uint8Array): LogEntry {
  const { version, fields } = decodeCanonical(preimage);
  if (version !== ENTRY_VERSION) throw new FormatError("version", "not 1");
  const texts: Record<TextField, string> = {
    service: "",
    eventId: "",
    type: "",
    outcome: "",
    actor: "",
    subject: "",
    applicationId: "",
    organisationId: "",
    traceId: "",
    purpose: "",
    reason: "",
  };
  let timeMs: number | undefined;
  let detailsSha256: Uint8Array = new Uint8Array();
  let digest: Uint8Array = new Uint8Array();
  for (const [tag, value] of fields) {
    const name = isTextTag(tag) ? textTags[tag] : undefined;
    if (tag === TIME_TAG && typeof value === "bigint") timeMs = Number(value);
    else if (tag === DETAILS_TAG && value instanceof Uint8Array && value.length > 0) detailsSha256 = value;
    else if (tag === DIGEST_TAG && value instanceof Uint8Array && value.length > 0) digest = value;
    else if (name !== undefined && typeof value === "string" && value !== "") texts[name] = value;
    else throw new FormatError(`fields.${tag}`, "not of an entry");
  }
  if (timeMs === undefined) throw new FormatError(`fields.${TIME_TAG}`, "missing");
  return { ...texts, timeMs, detailsSha256, digest };
}

/** The entry of the tiles: the salted commitment to the preimage. */
export function entryLeaf(preimage: Uint8Array, salt: Uint8Array): Uint8Array {
  return commit(ENTRY_COMMITMENT_TAG, salt, preimage);
}

/** The hash of the leaf in the tree. */
export function entryLeafHash(preimage: Uint8Array, salt: Uint8Array): Uint8Array {
  return leafHash(entryLeaf(preimage, salt));
}

function isTextTag(tag: number): tag is keyof typeof textTags {
  return Object.hasOwn(textTags, tag);
}
