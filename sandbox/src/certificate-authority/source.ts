import { type CaKind, type CaServer, startCaServer } from "../ca/index.ts";
import { errorReply, type HttpReply, type HttpRequest, jsonReply, notFound, type Room } from "../http/reply.ts";
import { createManners, type Manners, type Surroundings } from "../manners/manners.ts";
import { type CaPath, readCaPath } from "./rules.ts";

/** The grant and the pace of a CA's revocation services. */
export const CA_DEFAULTS = { latencyMs: 30, quotaPerSecond: 500 } as const;

const RELAY_TIMEOUT_MS = 30_000;

export type CertificateAuthorities = AsyncDisposable & {
  readonly manners: readonly Manners[];
  readonly room: Room;
  /** The CA profile, with the URLs under which this sandbox serves the CA. */
  profile(kind: CaKind): Readonly<Record<string, unknown>>;
};

/**
 * Both CAs under `/ca/<id>/…`, with the manners of sources before their revocation services; enrolment and profiles are
 * conveniences of the sandbox and never fail on command. The CAs themselves run behind, on a port of their own.
 */
export async function openCertificateAuthorities(
  dataDir: string,
  baseUrl: () => string,
  surroundings: Surroundings,
): Promise<CertificateAuthorities> {
  const { clock } = surroundings;
  const server = await startCaServer({ port: 0, dataDir, clock: () => new Date(clock.nowMs()) });
  const manners = {
    ecdsa: createManners("ca-ecdsa", CA_DEFAULTS, surroundings),
    sm2: createManners("ca-sm2", CA_DEFAULTS, surroundings),
  };

  function profile(kind: CaKind): Readonly<Record<string, unknown>> {
    const id = `ca-${kind}`;
    const inner = server.cas[kind].profile(`${baseUrl()}/ca/${id}`);
    if (typeof inner !== "object" || inner === null) throw new TypeError("a CA profile is an object");
    return { ...inner, id };
  }

  async function room(request: HttpRequest): Promise<HttpReply> {
    const path = readCaPath(request.path);
    if (path === undefined) return notFound();
    if (path.noun === "profile.json") {
      return request.method === "GET" ? jsonReply(200, profile(path.kind)) : errorReply(405, "METHOD_NOT_ALLOWED");
    }
    if (!path.isRevocation) return relay(server, path, request);
    return answerRevocation(manners[path.kind], request, () => relay(server, path, request));
  }

  return {
    manners: [manners.ecdsa, manners.sm2],
    room,
    profile,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

async function answerRevocation(
  manners: Manners,
  request: HttpRequest,
  ask: () => Promise<HttpReply>,
): Promise<HttpReply> {
  const { ledger } = manners;
  ledger.receive();
  const admission = manners.admit();
  switch (admission.kind) {
    case "away":
      return errorReply(503, "AWAY", { retryAfterMs: admission.retryAfterMs });
    case "limited":
      return errorReply(429, "QUOTA_EXCEEDED", { retryAfterMs: admission.retryAfterMs });
    case "failed":
      return errorReply(500, "FAULT");
    case "hung":
      return { kind: "hang" };
    case "admitted":
      break;
  }
  await manners.work(request.path + manners.counters().received);
  const reply = await ask();
  if (admission.drop) {
    ledger.refuse("dropped");
    return { kind: "drop" };
  }
  // CAs take no money for revocation data.
  if (reply.kind === "reply" && reply.status === 200)
    ledger.give(request.path.slice(request.path.lastIndexOf("/") + 1));
  return reply;
}

async function relay(server: CaServer, path: CaPath, request: HttpRequest): Promise<HttpReply> {
  const { method, headers, body } = request;
  const type = headers["content-type"];
  const response = await fetch(`${server.url}/ca/${server.cas[path.kind].id}/${path.noun}`, {
    method,
    headers: typeof type === "string" ? { "content-type": type } : {},
    ...(method === "GET" || method === "HEAD" ? {} : { body: new Uint8Array(body) }),
    signal: AbortSignal.timeout(RELAY_TIMEOUT_MS),
  });
  return {
    kind: "reply",
    status: response.status,
    headers: { "content-type": response.headers.get("content-type") ?? "application/octet-stream" },
    body: new Uint8Array(await response.arrayBuffer()),
  };
}
