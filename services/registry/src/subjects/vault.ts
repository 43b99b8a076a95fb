/*
 * The identity vault: identifier and name of a subject, sealed under a key of its own, found by keyed digests only.
 * The sealed text is bound to the subject and to what it is, so that no row can be given another's contents.
 */
import { canonicalIdentifier } from "@fujie/identity";
import type { Queryable, Transaction } from "@fujie/kit/db";
import { type KeyRing, open, seal, type VersionedDigest } from "@fujie/kit/keys";
import { findSubjects, type IdentifierKind, insertSubject, type SealedSubject } from "./store.ts";

export interface Identity {
  readonly kind: "person" | "organisation";
  /** Canonical: citizen id or unified social credit code. */
  readonly identifier: string;
  readonly name: string;
  /** Persons only. */
  readonly loginName?: string;
}

/** The digests under which an identifier is written and looked up, one per live key version, newest first. */
export function identifierDigests(
  ring: Pick<KeyRing, "hmacAll">,
  kind: IdentifierKind,
  canonical: string,
): readonly VersionedDigest[] {
  return ring.hmacAll("blind-index", canonicalIdentifier(kind, canonical));
}

export async function storeIdentity(
  tx: Transaction,
  ring: Pick<KeyRing, "newDataKey">,
  subjectId: string,
  identity: Identity,
): Promise<void> {
  const { dataKey, wrapped } = await ring.newDataKey(keyContext(subjectId));
  const sealText = (part: string, text: string): Buffer => seal(dataKey, aadOf(subjectId, part), Buffer.from(text));
  await insertSubject(tx, {
    subjectId,
    kind: identity.kind,
    identifierSealed: sealText("identifier", identity.identifier),
    nameSealed: sealText("name", identity.name),
    loginNameSealed: identity.loginName === undefined ? null : sealText("login-name", identity.loginName),
    wrapped,
  });
}

/** The identities of those subjects that are not erased, by subject id. At most a page: each costs an unwrapping. */
export async function openIdentities(
  db: Queryable,
  ring: Pick<KeyRing, "unwrap">,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Identity>> {
  if (ids.length === 0) return new Map();
  const sealed = await findSubjects(db, ids);
  const opened = sealed.map(async (subject) => [subject.subjectId, await openSubject(ring, subject)] as const);
  return new Map(await Promise.all(opened));
}

/** One subject's identity; undefined when there is none or it is erased. */
export async function openIdentity(
  db: Queryable,
  ring: Pick<KeyRing, "unwrap">,
  subjectId: string,
): Promise<Identity | undefined> {
  return (await openIdentities(db, ring, [subjectId])).get(subjectId);
}

/** Seals bytes of the archive under the subject's own key; undefined when the subject is erased. */
export async function sealForSubject(
  db: Queryable,
  ring: Pick<KeyRing, "unwrap">,
  subjectId: string,
  part: string,
  bytes: Uint8Array,
): Promise<Buffer | undefined> {
  const [subject] = await findSubjects(db, [subjectId]);
  if (subject === undefined) return undefined;
  return seal(await ring.unwrap(subject.wrapped, keyContext(subjectId)), aadOf(subjectId, part), bytes);
}

/** Opens what `sealForSubject` has sealed; undefined when the subject is erased. */
export async function openForSubject(
  db: Queryable,
  ring: Pick<KeyRing, "unwrap">,
  subjectId: string,
  part: string,
  sealed: Buffer,
): Promise<Buffer | undefined> {
  const [subject] = await findSubjects(db, [subjectId]);
  if (subject === undefined) return undefined;
  return open(await ring.unwrap(subject.wrapped, keyContext(subjectId)), aadOf(subjectId, part), sealed);
}

async function openSubject(ring: Pick<KeyRing, "unwrap">, subject: SealedSubject): Promise<Identity> {
  const { subjectId, kind, identifierSealed, nameSealed, loginNameSealed } = subject;
  const dataKey = await ring.unwrap(subject.wrapped, keyContext(subjectId));
  const openText = (part: string, sealed: Buffer): string => open(dataKey, aadOf(subjectId, part), sealed).toString();
  return {
    kind,
    identifier: openText("identifier", identifierSealed),
    name: openText("name", nameSealed),
    ...(loginNameSealed === null ? {} : { loginName: openText("login-name", loginNameSealed) }),
  };
}

function keyContext(subjectId: string): string {
  return `subject:${subjectId}`;
}

function aadOf(subjectId: string, part: string): string {
  return `subject:${subjectId}:${part}`;
}
