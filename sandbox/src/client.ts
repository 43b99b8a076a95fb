import type { EnrolmentKind, IssuedCertificate } from "./ca/index.ts";
import type { Counters } from "./manners/ledger.ts";
import type { Fault } from "./manners/settings.ts";

export type CaId = "ca-ecdsa" | "ca-sm2";

/** Every source of the sandbox, as sources.json has it. */
export const sourceIds = [
  "population-base",
  "legal-person-base",
  "carrier",
  "bank",
  "biometric",
  "partner",
  "ca-ecdsa",
  "ca-sm2",
] as const;

/** What can be steered: the population base's second address, too, by itself. */
export type SourceId = (typeof sourceIds)[number] | "population-base-2";

/** What `control` changes; what is absent stays. Times are RFC 3339 in UTC. */
export type SettingsChange = {
  readonly latencyMs?: number;
  readonly fault?: Fault;
  readonly quotaPerSecond?: number;
  readonly failNext?: number;
  readonly noRecord?: boolean;
  readonly identifierPerDay?: number;
  readonly cardPerDay?: number;
  readonly maintenance?: readonly { readonly startTime: string; readonly endTime: string }[];
};

export type SandboxClient = {
  issueCertificate(
    caId: CaId,
    subject: {
      readonly kind: EnrolmentKind;
      readonly name: string;
      readonly identifier: string;
      readonly days?: number;
    },
  ): Promise<IssuedCertificate>;
  /** By serial number in hexadecimal, for a reason of RFC 5280 §5.3.1. */
  revoke(caId: CaId, serial: string, reason?: string): Promise<void>;
  control(source: SourceId, settings: SettingsChange): Promise<void>;
  counters(source: SourceId): Promise<Counters>;
  /** Sets counters, quotas and settings back to the start. */
  reset(source: SourceId): Promise<void>;
};

/** The sandbox refused a request; `status` is the HTTP status and `body` its JSON. */
export class SandboxError extends Error {
  readonly status: number;
  readonly body: unknown;
  constructor(status: number, body: unknown) {
    super(`the sandbox answered ${status}`);
    this.name = "SandboxError";
    this.status = status;
    this.body = body;
  }
}

const TIMEOUT_MS = 30_000;

/** Steers a running sandbox, e.g. at "http://127.0.0.1:7052". Every function throws SandboxError on a refusal. */
export function sandboxClient(httpUrl: string): SandboxClient {
  async function send<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${httpUrl}${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const answer: unknown = await response.json();
    if (!response.ok) throw new SandboxError(response.status, answer);
    return answer as Answer;
  }
  return {
    issueCertificate: (caId, subject) => send("POST", `/ca/${caId}/issue`, subject),
    revoke: async (caId, serial, reason) => {
      await send("POST", `/ca/${caId}/revoke`, { serial, reason });
    },
    control: async (source, settings) => {
      await send("PUT", `/control/${source}`, settings);
    },
    counters: async (source) => (await send<{ counters: Counters }>("GET", `/control/${source}`)).counters,
    reset: async (source) => {
      await send("DELETE", `/control/${source}`);
    },
  };
}
