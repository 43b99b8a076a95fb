import { fieldError } from "../errors/index.ts";
import type { KeyRing } from "../keys/index.ts";

/** A place between two events of a topic: everything up to and including (tx, seq) lies behind it. */
export interface Position {
  readonly tx: bigint;
  readonly seq: bigint;
}

export const BEGINNING: Position = { tx: 0n, seq: 0n };

/** After every transaction there can be. */
export const END: Position = { tx: 2n ** 64n - 1n, seq: 0n };

export function isBefore(a: Position, b: Position): boolean {
  return a.tx === b.tx ? a.seq < b.seq : a.tx < b.tx;
}

/**
 * Where a follower stands. `cluster` names the PostgreSQL cluster and its timeline: after a failover or restore
 * transaction ids may repeat, and a place of another timeline says nothing.
 */
export type Place =
  | { readonly kind: "position"; readonly cluster: string; readonly position: Position }
  /** Inside the snapshot that was begun when the topic was complete up to `position`, after the item `cursor`. */
  | { readonly kind: "snapshot"; readonly cluster: string; readonly position: Position; readonly cursor: string };

/** What a snapshot may use as its cursor: ids. */
export const CURSOR_PATTERN = /^[A-Za-z0-9_-]{1,60}$/;

/** The token of a place: opaque to followers, at most 200 characters, good for this topic only. */
export function signPlace(topic: string, place: Place, keys: Pick<KeyRing, "hmac">): string {
  const text = `${place.cluster}:${place.position.tx}:${place.position.seq}${place.kind === "snapshot" ? `:${place.cursor}` : ""}`;
  return `${text}.${keys.hmac("resume-token", signedText(topic, text)).digest.toString("base64url")}`;
}

const TOKEN =
  /^(?<text>(?<cluster>[0-9A-F]{1,40}):(?<tx>\d{1,20}):(?<seq>\d{1,19})(?::(?<cursor>[A-Za-z0-9_-]{1,60}))?)\.(?<digest>[\w-]{43})$/i;

/** @throws DomainError RESUME_TOKEN_INVALID for a token that this topic did not give. */
export function openPlace(topic: string, token: string, keys: Pick<KeyRing, "hmacMatches">): Place {
  const { text, cluster, tx, seq, cursor, digest } = TOKEN.exec(token)?.groups ?? {};
  if (text === undefined || cluster === undefined || tx === undefined || seq === undefined || digest === undefined) {
    throw invalid();
  }
  if (!keys.hmacMatches("resume-token", signedText(topic, text), Buffer.from(digest, "base64url"))) throw invalid();
  const position = { tx: BigInt(tx), seq: BigInt(seq) };
  return cursor === undefined
    ? { kind: "position", cluster, position }
    : { kind: "snapshot", cluster, position, cursor };
}

function invalid(): Error {
  return fieldError("RESUME_TOKEN_INVALID", "resume_token", "was not given by this topic");
}

function signedText(topic: string, text: string): string {
  return `fujie-resume-v1\n${topic}\n${text}`;
}
