import type { Client } from "@connectrpc/connect";
import type { LogService } from "@fujie/api/fujie/audit/v1/log";
import type { Clock } from "@fujie/kit/clock";
import type { Database } from "@fujie/kit/db";
import type { Ephemeral } from "@fujie/kit/ephemeral";
import type { KeyBundle, KeyRing } from "@fujie/kit/keys";
import type { Logger } from "@fujie/kit/log";
import type { Timers } from "@fujie/kit/timers";
import type { PresentPolicy } from "./policy/present.ts";
import type { Caps } from "./quotas/take.ts";
import type { Coalescer } from "./sources/coalesce.ts";
import type { Sources } from "./sources/index.ts";
import type { CallBook } from "./usage/book.ts";
import type { Decisions } from "./verifications/decisions.ts";
import type { RunningTasks } from "./verifications/running.ts";
import type { Writer } from "./verifications/writer.ts";

/** What the gateway's slices work with. A function takes the part that it needs: `Pick<Context, "db" | "clock">`. */
export interface Context {
  readonly environment: "production" | "sandbox";
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Logger;
  readonly db: Database;
  readonly ring: KeyRing;
  readonly bundle: KeyBundle;
  readonly ephemeral: Ephemeral;
  readonly sources: Sources;
  readonly coalescer: Coalescer;
  /** What this process knows of its calls to sources, until the ledger has it. */
  readonly calls: CallBook;
  readonly policy: PresentPolicy;
  /** The audit log, for proofs of our own events. */
  readonly auditLog: Pick<Client<typeof LogService>, "getEventProof">;
  /** Writes questions and decisions. */
  readonly writer: Writer;
  /** Tells those who wait in this process when a verification is decided. */
  readonly decisions: Decisions;
  readonly tasks: RunningTasks;
  /** Counted for the operators. */
  readonly alarms: Alarms;
  readonly caps: Caps;
  readonly periods: Periods;
}

export interface Alarms {
  /** An application was seen walking through neighbouring identifiers. */
  enumeration(): void;
}

/** How long things last. */
export interface Periods {
  /** How long the process that asks has a verification for itself. */
  readonly leaseMs: number;
  /** Bounds of the pause before a pending verification's sources are asked again. */
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** How long a question is kept that no source answers, and one that waits for a person. */
  readonly pendingKeepMs: number;
  readonly reviewKeepMs: number;
  /** How long a decided verification is kept. */
  readonly keepMs: number;
  /** How long the salt of a receipt can be fetched again. */
  readonly saltKeepMs: number;
}
