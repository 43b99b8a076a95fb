/*
 * Details are sealed under a key of whom they are about, so that one person's can be erased without touching the log.
 * The wrapped keys are in a database of their own, whose backups end soon:
 *
 *   append   key found or made, and committed there ─▶ details sealed ─▶ entry sealed in the log
 *   erasure  told by the log ─▶ key deleted there ─▶ acknowledged
 *
 * A key whose entry never came is harmless. While the key database is away nothing with details is taken in and no
 * details are read; all that needs no details goes on, proofs above all.
 */
import type { KeyObject } from "node:crypto";
import type { Clock } from "@fujie/kit/clock";
import { type Database, uuidv7 } from "@fujie/kit/db";
import { type KeyRing, open, seal } from "@fujie/kit/keys";
import type { SealedDetails } from "../log/entry.ts";
import { carryOutErasures } from "./erasures.ts";
import {
  type FoundKeys,
  findOldWrappedKey,
  findWrappedKey,
  findWrappedKeys,
  removeOldWrappedKeys,
  removeWrappedKeys,
  storeWrappedKeys,
  type WrappedKey,
} from "./store.ts";

interface DataKey {
  readonly keyId: string;
  readonly key: KeyObject;
}

export interface SubjectKeys {
  /**
   * The data keys of these subjects, made where there is none yet.
   * @throws DomainError DEPENDENCY_UNAVAILABLE when the key database is away; so do the others
   */
  prepare(subjects: Iterable<string>): Promise<SealDetails>;
  /** The plaintext, or undefined when the key was erased. Throws KeyError when the ciphertext was altered. */
  open(eventId: string, details: SealedDetails): Promise<Buffer | undefined>;
  /** Destroys the subject's keys: what was sealed under them can never be read again. Proofs stay valid. */
  erase(subject: string): Promise<void>;
  /** Carries out every erasure that the log tells of and the key database does not know, as after a restore. */
  replayErasures(): Promise<void>;
}

/** Seals details for one event, under the key of a subject that was prepared. */
export type SealDetails = (subject: string, eventId: string, plaintext: Uint8Array) => SealedDetails;

const KEYS_MAX = 20_000;
/** So long a key is used without a look into the key database. */
const REMEMBER_MS = 60_000;

export function openSubjectKeys(context: {
  readonly db: Database;
  readonly keyDb: Database;
  readonly ring: Pick<KeyRing, "newDataKey" | "unwrap">;
  readonly clock: Clock;
}): SubjectKeys {
  const { db, keyDb, ring, clock } = context;
  const remembered = new Map<string, DataKey & { readonly untilMs: number }>();
  /** Counted, so that a key that was read before an erasure is not remembered after it. */
  let erasures = 0;
  /** Where this process found the key database with nothing left to erase. */
  let erasedUntil: number | undefined;

  function remember(keys: Iterable<[string, DataKey]>): void {
    const untilMs = clock.nowMs() + REMEMBER_MS;
    for (const [subject, key] of keys) {
      remembered.delete(subject);
      remembered.set(subject, { ...key, untilMs });
      const oldest = remembered.size > KEYS_MAX ? remembered.keys().next().value : undefined;
      if (oldest !== undefined) remembered.delete(oldest);
    }
  }

  function recall(subject: string): [string, DataKey][] {
    const key = remembered.get(subject);
    return key === undefined || key.untilMs <= clock.nowMs() ? [] : [[subject, key]];
  }

  /** After the deletion: whoever read the key before it remembers it no more. */
  function forget(subjects: readonly string[]): void {
    erasures += 1;
    for (const subject of subjects) remembered.delete(subject);
  }

  /** Keys past their time, erased ones among them that another replica destroyed, leave the memory too. */
  function forgetExpired(): void {
    const nowMs = clock.nowMs();
    for (const [subject, { untilMs }] of remembered) if (untilMs <= nowMs) remembered.delete(subject);
  }

  async function replayErasures(): Promise<void> {
    forgetExpired();
    erasedUntil = await carryOutErasures({ db, keyDb }, forget);
  }

  /** Keys of which none is an erased one that a restored backup brought back. */
  async function sound(find: () => Promise<FoundKeys>): Promise<readonly WrappedKey[]> {
    const found = await find();
    if (found.erasedUntil !== undefined && found.erasedUntil === erasedUntil) return found.keys;
    await replayErasures();
    return (await find()).keys;
  }

  const unwrap = async ({ keyId, subject, wrapped }: WrappedKey): Promise<[string, DataKey]> => [
    subject,
    { keyId, key: await ring.unwrap(wrapped, contextOf(keyId)) },
  ];

  async function load(subjects: readonly string[]): Promise<[string, DataKey][]> {
    if (subjects.length === 0) return [];
    return Promise.all((await sound(() => findWrappedKeys(keyDb, subjects))).map(unwrap));
  }

  /** New keys, usable once they are committed. */
  async function make(subjects: readonly string[]): Promise<[string, DataKey][]> {
    if (subjects.length === 0) return [];
    const createdAtMs = clock.nowMs();
    const made = await Promise.all(
      subjects.map(async (subject) => {
        const keyId = uuidv7(createdAtMs);
        return { subject, keyId, createdAtMs, ...(await ring.newDataKey(contextOf(keyId))) };
      }),
    );
    await storeWrappedKeys(keyDb, made);
    return made.map(({ subject, keyId, dataKey }) => [subject, { keyId, key: dataKey }]);
  }

  async function prepare(subjects: Iterable<string>): Promise<SealDetails> {
    const wanted = [...new Set(subjects)];
    const keys = new Map(wanted.flatMap(recall));
    const missing = wanted.filter((subject) => !keys.has(subject));
    const before = erasures;
    const stored = new Map(await load(missing));
    const made = await make(missing.filter((subject) => !stored.has(subject)));
    const fresh = [...stored, ...made];
    if (erasures === before) remember(fresh);
    for (const [subject, key] of fresh) keys.set(subject, key);
    return (subject, eventId, plaintext) => {
      const dataKey = keys.get(subject);
      if (dataKey === undefined) throw new Error("the data key of a subject was not prepared");
      return { keyId: dataKey.keyId, sealed: seal(dataKey.key, aadOf(eventId), plaintext) };
    };
  }

  async function find(keyId: string): Promise<WrappedKey | undefined> {
    const [key] = await sound(() => findWrappedKey(keyDb, keyId));
    if (key !== undefined) return key;
    const old = await findOldWrappedKey(db, keyId);
    // It may have moved between the two looks.
    return old ?? (await sound(() => findWrappedKey(keyDb, keyId)))[0];
  }

  return {
    prepare,
    open: async (eventId, { keyId, sealed }) => {
      const wrapped = await find(keyId);
      if (wrapped === undefined) return undefined;
      const [, { key }] = await unwrap(wrapped);
      return open(key, aadOf(eventId), sealed);
    },
    erase: async (subject) => {
      // Should it fail half-way, the log tells of it before the next key is used.
      erasedUntil = undefined;
      try {
        await removeOldWrappedKeys(db, [subject]);
        await removeWrappedKeys(keyDb, [subject]);
      } finally {
        forget([subject]);
      }
      // Moves the mark past it now, before the subject has a new key.
      await replayErasures();
    },
    replayErasures,
  };
}

function contextOf(keyId: string): string {
  return `audit-subject-key:${keyId}`;
}

function aadOf(eventId: string): string {
  return `audit-details:${eventId}`;
}
