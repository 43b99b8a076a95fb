import type { KeyObject } from "node:crypto";
import { type KeyRing, open, seal } from "@fujie/kit/keys";

/** Seals the parts of one record (an incident, a case) under a data key of its own, bound to the record and the part. */
export interface RecordSeal {
  /** The wrapped key, to be kept with the record. */
  readonly wrapped: Buffer;
  seal(part: string, bytes: Uint8Array): Buffer;
  /** Throws KeyError when the bytes were altered or belong to another record or part. */
  open(part: string, sealed: Uint8Array): Buffer;
}

/** A new record's key. `record` names it for good: "incident:<id>". */
export async function newRecordSeal(ring: Pick<KeyRing, "newDataKey">, record: string): Promise<RecordSeal> {
  const { dataKey, wrapped } = await ring.newDataKey(record);
  return sealWith(dataKey, wrapped, record);
}

/** The key of a record that exists. */
export async function openRecordSeal(
  ring: Pick<KeyRing, "unwrap">,
  record: string,
  wrapped: Buffer,
): Promise<RecordSeal> {
  return sealWith(await ring.unwrap(wrapped, record), wrapped, record);
}

function sealWith(key: KeyObject, wrapped: Buffer, record: string): RecordSeal {
  const aad = (part: string): string => `${record}:${part}`;
  return {
    wrapped,
    seal: (part, bytes) => seal(key, aad(part), bytes),
    open: (part, sealed) => open(key, aad(part), sealed),
  };
}
