import type { KeyObject } from "node:crypto";
import type { Clock } from "@fujie/kit/clock";
import { type Database, uuidv7 } from "@fujie/kit/db";
import { type KeyRing, open, seal } from "@fujie/kit/keys";
import type { SealedDetails } from "../log/entry.ts";
import { findWrappedKey, findWrappedKeys, removeWrappedKey, storeWrappedKey, type WrappedKey } from "./store.ts";

interface DataKey {
  readonly keyId: string;
  readonly key: KeyObject;
}

/** Details are sealed under a key of whom they are about, so that one person's can be erased without touching the log. */
export interface SubjectKeys {
  /** The data keys of these subjects, made where there is none yet. */
  prepare(subjects: Iterable<string>): Promise<SealDetails>;
  /** The plaintext, or undefined when the key was erased. Throws KeyError when the ciphertext was altered. */
  open(eventId: string, details: SealedDetails): Promise<Buffer | undefined>;
  /** Destroys the subject's key: what was sealed under it can never be read again. Proofs stay valid. */
  erase(subject: string): Promise<void>;
}

/** Seals details for one event, under the key of a subject that was prepared. */
export type SealDetails = (subject: string, eventId: string, plaintext: Uint8Array) => SealedDetails;

const KEYS_MAX = 20_000;

export function openSubjectKeys(context: {
  readonly db: Database;
  readonly ring: Pick<KeyRing, "newDataKey" | "unwrap">;
  readonly clock: Clock;
}): SubjectKeys {
  const { db, ring, clock } = context;
  const remembered = new Map<string, DataKey>();

  function remember(subject: string, key: DataKey): void {
    remembered.set(subject, key);
    const oldest = remembered.size > KEYS_MAX ? remembered.keys().next().value : undefined;
    if (oldest !== undefined) remembered.delete(oldest);
  }

  const unwrap = async ({ keyId, subject, wrapped }: WrappedKey): Promise<[string, DataKey]> => [
    subject,
    { keyId, key: await ring.unwrap(wrapped, contextOf(keyId)) },
  ];

  async function load(subjects: readonly string[]): Promise<Map<string, DataKey>> {
    const wrapped = subjects.length === 0 ? [] : await findWrappedKeys(db, subjects);
    return new Map(await Promise.all(wrapped.map(unwrap)));
  }

  async function make(subject: string): Promise<void> {
    const keyId = uuidv7(clock.nowMs());
    const { wrapped } = await ring.newDataKey(contextOf(keyId));
    await storeWrappedKey(db, { keyId, subject, wrapped }, clock.nowMs());
  }

  async function prepare(subjects: Iterable<string>): Promise<SealDetails> {
    const wanted = new Set(subjects);
    const keys = new Map([...wanted].flatMap((subject) => entryIn(remembered, subject)));
    const missing = [...wanted].filter((subject) => !keys.has(subject));
    const stored = await load(missing);
    const without = missing.filter((subject) => !stored.has(subject));
    for (const subject of without) await make(subject);
    // Read again: when two made a key at once, one of them is the subject's.
    const made = await load(without);
    for (const [subject, key] of [...stored, ...made]) {
      keys.set(subject, key);
      remember(subject, key);
    }
    return (subject, eventId, plaintext) => {
      const dataKey = keys.get(subject);
      if (dataKey === undefined) throw new Error("the data key of a subject was erased at this moment");
      return { keyId: dataKey.keyId, sealed: seal(dataKey.key, aadOf(eventId), plaintext) };
    };
  }

  return {
    prepare,
    open: async (eventId, { keyId, sealed }) => {
      const wrapped = await findWrappedKey(db, keyId);
      if (wrapped === undefined) return undefined;
      const [, { key }] = await unwrap(wrapped);
      return open(key, aadOf(eventId), sealed);
    },
    erase: async (subject) => {
      await removeWrappedKey(db, subject);
      remembered.delete(subject);
    },
  };
}

function entryIn(keys: ReadonlyMap<string, DataKey>, subject: string): [string, DataKey][] {
  const key = keys.get(subject);
  return key === undefined ? [] : [[subject, key]];
}

function contextOf(keyId: string): string {
  return `audit-subject-key:${keyId}`;
}

function aadOf(eventId: string): string {
  return `audit-details:${eventId}`;
}
