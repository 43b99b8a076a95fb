import { setTimeout as delay } from "node:timers/promises";
import pino from "pino";
import { systemClock } from "../src/clock/index.ts";
import { DomainError, isReason } from "../src/errors/index.ts";
import { caller, handler, type RunningServer, type ServerOptions, startServer, subjectOf } from "../src/serve/index.ts";
import { startTelemetry } from "../src/telemetry/index.ts";
import type { VerifiedToken } from "../src/tokens/index.ts";
import { ProbeService } from "./gen/fujie/testing/v1/testing_pb.js";

export const loopback = { host: "127.0.0.1", port: 0 };
export const accountId = "0198c0de-0000-7000-8000-000000000001";
export const foreignId = "0198c0de-0000-7000-8000-00000000000f";

/** What the probe server remembers of its calls, for tests to look at. */
export interface Probe {
  readonly server: RunningServer;
  readonly logged: string[];
  /** Resolves when a `Wait` call has seen its signal abort. */
  readonly waitAborted: Promise<void>;
  handled: number;
}

/** A token that the probe server takes: its claims in the clear. The real verifier has its own tests. */
export function mintToken(claims: { scopes: readonly string[] } & Partial<Omit<VerifiedToken, "scopes">>): string {
  return Buffer.from(JSON.stringify(claims)).toString("base64url");
}

function verify(raw: string): VerifiedToken | Promise<VerifiedToken> {
  if (raw === "expired") throw new DomainError("TOKEN_EXPIRED");
  if (raw === "slow") return delay(5).then(() => verify(mintToken({ scopes: ["probe.read"] })));
  if (!/^ey[\w-]+$/.test(raw)) throw new DomainError("TOKEN_INVALID");
  const claims = JSON.parse(Buffer.from(raw, "base64url").toString());
  const defaults = { subject: accountId, kind: "person", clientId: "c", application: "app-1", level: 3, amr: [] };
  return { ...defaults, expiresAtMs: 0, issuedAtMs: 0, ...claims, scopes: new Set(claims.scopes), raw };
}

export const staleness = { stale: false };

/** Starts a server of ProbeService on free ports. */
export async function startProbe(overrides: Partial<ServerOptions> = {}): Promise<Probe & AsyncDisposable> {
  const logged: string[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => void logged.push(line) });
  const telemetry = startTelemetry({ service: "probe", environment: "sandbox", traceRatio: 0 });
  const aborted = Promise.withResolvers<void>();
  const counter = { handled: 0 };
  const server = await startServer({
    service: "probe",
    environment: "sandbox",
    grpc: { address: loopback },
    http: { address: loopback, allowedOrigins: ["https://app.example"] },
    admin: { address: loopback },
    handlers: [probeHandler(() => aborted.resolve(), counter)],
    tokens: { verify },
    revocations: { isStale: () => staleness.stale },
    owners: {
      widget: async (id) => (id === "widget-1" ? { subjects: [accountId], organisations: ["org-1"] } : undefined),
    },
    telemetry,
    log,
    clock: systemClock,
    drainTimeoutMs: 5000,
    ...overrides,
  });
  return {
    server,
    logged,
    waitAborted: aborted.promise,
    get handled() {
      return counter.handled;
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await telemetry[Symbol.asyncDispose]();
    },
  };
}

export function probeHandler(onAbort: () => void = () => {}, counter = { handled: 0 }) {
  return handler(ProbeService, {
    echo(request) {
      counter.handled += 1;
      return { text: request.text, data: request.data, number: request.number };
    },
    bounce: ({ text, number }) => ({ text, number }),
    measure: ({ text, number }) => ({ text, number }),
    async wait(_request, call) {
      counter.handled += 1;
      await new Promise<void>((resolve) => call.signal.addEventListener("abort", () => resolve(), { once: true }));
      onAbort();
      await delay(20);
      return {};
    },
    async fail({ reason }) {
      if (reason === "RATE_LIMITED") throw new DomainError(reason, { retryDelayMs: 2500, subject: "application" });
      if (reason === "NAME_INVALID") {
        throw new DomainError(reason, { violations: [{ field: "person.name", description: "is empty" }] });
      }
      if (isReason(reason)) throw new DomainError(reason, { subject: "agreement" });
      throw new Error(`secret ${reason}`);
    },
    whoAmI: (_request, call) => ({ subject: subjectOf(call).subject }),
    readAccount: (_request, call) => ({ peer: caller(call).peer ?? "" }),
    readOrganisation: () => ({}),
    readApplication: () => ({}),
    readWidget: () => ({}),
    administer: () => ({}),
    replicate: (_request, call) => ({ peer: caller(call).peer ?? "" }),
    async *countDown({ from }, call) {
      for (let number = from; number > 0 && !call.signal.aborted; number -= 1) {
        if (from === 1_000_000) await delay(1);
        yield { number };
      }
    },
    async sum(requests) {
      let sum = 0;
      for await (const { number } of requests) sum += number;
      return { sum };
    },
    async *chat(requests) {
      for await (const { text } of requests) yield { text };
    },
  });
}
