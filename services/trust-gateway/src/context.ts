import type { Clock } from "@fujie/kit/clock";
import type { Database } from "@fujie/kit/db";
import type { Ephemeral } from "@fujie/kit/ephemeral";
import type { KeyBundle, KeyRing } from "@fujie/kit/keys";
import type { Logger } from "@fujie/kit/log";
import type { Timers } from "@fujie/kit/timers";
import type { ClaimRules } from "./plan/rules.ts";
import type { PresentPolicy } from "./policy/present.ts";
import type { Caps } from "./quotas/take.ts";
import type { ReceiptSigner } from "./receipts/signer.ts";
import type { Coalescer } from "./sources/coalesce.ts";
import type { Sources } from "./sources/index.ts";
import type { Decisions } from "./verifications/decisions.ts";
import type { RunningTasks } from "./verifications/running.ts";

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
  readonly policy: PresentPolicy;
  readonly claimRules: ClaimRules;
  readonly receipts: ReceiptSigner;
  /** Tells those who wait in this process when a verification is decided. */
  readonly decisions: Decisions;
  readonly tasks: RunningTasks;
  readonly caps: Caps;
  readonly periods: Periods;
}

/** How long things last. */
export interface Periods {
  /** How long the process that asks has a verification for itself. */
  readonly leaseMs: number;
  /** Bounds of the pause before a pending verification's sources are asked again. */
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** How long a decided verification is kept. */
  readonly keepMs: number;
  /** How long the salt of a receipt can be fetched again. */
  readonly saltKeepMs: number;
}
