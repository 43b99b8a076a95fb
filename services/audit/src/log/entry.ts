import type { LogEntry } from "@fujie/transparency";
import type { Opening } from "./openings.ts";

/** Details as they lie in the log: sealed under the data key of that id. */
export interface SealedDetails {
  readonly keyId: string;
  readonly sealed: Buffer;
}

/** All of an entry but its index: nothing that an entry binds depends on where it ends up. */
export interface PreparedEntry {
  readonly entry: LogEntry;
  readonly preimage: Uint8Array;
  /** 32 random bytes. */
  readonly salt: Uint8Array;
  readonly leafHash: Uint8Array;
  readonly details: SealedDetails | undefined;
}

/** An entry as the database has it. */
export interface StoredEntry extends Opening {
  readonly details: SealedDetails | undefined;
}
