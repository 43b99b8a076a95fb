import type { Client } from "@connectrpc/connect";
import type { CaseService } from "@fujie/api/fujie/audit/v1/cases";
import type { EvidenceService } from "@fujie/api/fujie/trust/v1/evidence";
import type { PolicyService } from "@fujie/api/fujie/trust/v1/policy";
import type { Clock } from "@fujie/kit/clock";
import type { Database } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import type { Logger } from "@fujie/kit/log";
import type { Timers } from "@fujie/kit/timers";

/** What the registry's slices work with. A function takes the part that it needs: `Pick<Context, "db" | "clock">`. */
export interface Context {
  readonly environment: "production" | "sandbox";
  /** The OpenID issuer: bound into every challenge. */
  readonly issuer: string;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Logger;
  readonly db: Database;
  readonly ring: KeyRing;
  /** The trust-gateway, called by mutual TLS alone: the registry asks on the platform's own ground. */
  readonly evidence: Client<typeof EvidenceService>;
  readonly policy: Client<typeof PolicyService>;
  /** Audit's assistance cases, asked by mutual TLS alone. */
  readonly assistance: Client<typeof CaseService>;
  readonly periods: Periods;
  readonly ceremony: CeremonySettings;
}

/** How long things last. */
export interface Periods {
  /** Until a registration that nobody confirms expires. */
  readonly registrationMs: number;
  /** How long the archive of a cancelled account stays readable. */
  readonly archiveMs: number;
  /** Until an operator's rights lapse unless they are reviewed. */
  readonly reviewMs: number;
}

export interface CeremonySettings {
  /** Where the one-time code of the first administrators is written; absent: no ceremony. */
  readonly file: string | undefined;
  /** Whether every caller of this process is on this machine. */
  readonly local: boolean;
}
