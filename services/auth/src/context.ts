import type { Runtime } from "@fujie/kit/runtime";
import type { PasswordHasher } from "./credentials/hashing.ts";
import type { Directory } from "./directory/directory.ts";
import type { SessionLimits } from "./sessions/rules.ts";
import type { AttemptLimits } from "./sign-in/throttle.ts";

/** What auth's rooms work with. Functions take the part that they need. */
export interface Context extends Pick<Runtime, "clock" | "log" | "telemetry" | "db" | "ring" | "ephemeral"> {
  /** The issuer: scheme, host and port, no path. */
  readonly issuer: string;
  readonly directory: Directory;
  readonly hasher: PasswordHasher;
  readonly sessionLimits: SessionLimits;
  readonly attemptLimits: AttemptLimits;
  /** Reverse proxies in front whose X-Forwarded-For entries are believed. */
  readonly trustedProxies: number;
  /** Whether what the registry tells by its feed may be out of date. */
  changesAreStale(): boolean;
}
