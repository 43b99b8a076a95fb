import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SandboxClient, sandboxClient } from "../src/client.ts";
import { signRequest } from "../src/http/signature.ts";
import type { Log } from "../src/log.ts";
import type { TlsFiles } from "../src/partner/source.ts";
import { type Sandbox, startSandbox } from "../src/server.ts";
import { makeTlsAuthority, type TlsAuthority } from "./tls-files.ts";

export const NOON_IN_CHINA = Date.UTC(2026, 2, 2, 4);

/** A sandbox on free ports whose clock stands still and whose answers take no time, with what tests need to steer it. */
export type RunningSandbox = AsyncDisposable & {
  readonly sandbox: Sandbox;
  readonly client: SandboxClient;
  readonly dir: string;
  readonly authority: TlsAuthority;
  /** The client certificate that the partner wants. */
  readonly platform: TlsFiles;
  readonly time: { nowMs: number; readonly sleptMs: number[]; hold: Promise<void> | undefined };
  /** Everything that was logged, as JSON. */
  readonly logged: string[];
};

export async function runSandbox(): Promise<RunningSandbox> {
  const dir = await mkdtemp(join(tmpdir(), "fujie-sandbox-"));
  const authority = makeTlsAuthority(dir, "ca");
  const time: RunningSandbox["time"] = { nowMs: NOON_IN_CHINA, sleptMs: [], hold: undefined };
  const logged: string[] = [];
  const keep = (...line: unknown[]) => {
    logged.push(JSON.stringify(line));
  };
  const log: Log = { info: keep, error: keep };
  const sandbox = await startSandbox({
    httpAddress: "127.0.0.1:0",
    grpcAddress: "127.0.0.1:0",
    dir: join(dir, "sandbox"),
    tls: authority.issue("sandbox", "DNS:localhost, URI:spiffe://fujie/sandbox"),
    clock: { nowMs: () => time.nowMs },
    sleep: async (ms) => {
      time.sleptMs.push(ms);
      await time.hold;
    },
    log,
  });
  return {
    sandbox,
    client: sandboxClient(sandbox.httpUrl),
    dir: join(dir, "sandbox"),
    authority,
    platform: authority.issue("platform", "URI:spiffe://fujie/trust-gateway"),
    time,
    logged,
    async [Symbol.asyncDispose]() {
      await sandbox[Symbol.asyncDispose]();
      await rm(dir, { recursive: true });
    },
  };
}

export const newBizSeq = (): string => randomBytes(16).toString("hex");

/** What a platform knows of a base. */
export type BaseAccount = { readonly url: string; readonly clientId: string; readonly secret: string };

/** Reads the account from the files that the sandbox wrote, as a trust-gateway does. */
export async function readAccount(sourcesFile: string, id: string): Promise<BaseAccount> {
  const { sources } = JSON.parse(await readFile(sourcesFile, "utf8"));
  const entry = sources.find((source: { id: string }) => source.id === id);
  return {
    url: entry.url ?? entry.urls[0],
    clientId: entry.clientId,
    secret: await readFile(entry.secretFile, "utf8"),
  };
}

export type Answer = { readonly status: number; readonly retryAfter: string | null; readonly body: unknown };

/** Sends a signed request; `forge` replaces headers after signing. */
export async function callBase(
  account: BaseAccount,
  request: {
    readonly method: "GET" | "POST";
    readonly path: string;
    readonly body?: unknown;
    readonly nowMs: number;
    readonly forge?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
  },
): Promise<Answer> {
  const { method, path, nowMs, forge = {}, signal } = request;
  const text = typeof request.body === "string" ? request.body : JSON.stringify(request.body);
  const timestamp = String(nowMs);
  const signature = signRequest(account.secret, { method, path, timestamp, body: Buffer.from(text ?? "") });
  const response = await fetch(account.url + path, {
    method,
    headers: { "x-client-id": account.clientId, "x-timestamp": timestamp, "x-signature": signature, ...forge },
    ...(text === undefined ? {} : { body: text }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { status: response.status, retryAfter: response.headers.get("retry-after"), body: await response.json() };
}
