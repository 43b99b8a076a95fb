/**
 * Both sandbox CAs over HTTP on loopback, as a platform would meet them:
 *
 *   GET  /ca/<id>/profile.json       the CA profile            GET /ca/<id>/crl, /root-crl    DER
 *   POST /ca/<id>/ocsp               DER in, DER out
 *   POST /ca/<id>/issue              {kind, name, identifier, days} → {certPem, chainPem, keyPem, serial, …}
 *   POST /ca/<id>/revoke             {serial, reason?} → {}
 *
 * `issue` hands out certificates to anybody who asks: for development and tests, never beside a production anchor.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { REVOCATION_REASONS, type RevocationReason } from "@fujie/certificates";
import { type Ca, createCa, ENROLMENT_KINDS } from "./ca.ts";

const BODY_BYTES_MAX = 16 * 1024;
const DAYS_MAX = 3650;

export type CaServer = {
  readonly url: string;
  readonly cas: Readonly<Record<"ecdsa" | "sm2", Ca>>;
  close(): Promise<void>;
};

/** Starts the server; port 0 takes a free one. `url` has no trailing slash. */
export async function startCaServer(options: {
  readonly port: number;
  readonly dataDir: string;
  readonly clock: () => Date;
}): Promise<CaServer> {
  const [ecdsa, sm2] = await Promise.all([
    createCa(options.dataDir, "ecdsa", options),
    createCa(options.dataDir, "sm2", options),
  ]);
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 });
  const url = await listen(server, options.port);
  server.on("request", (request, response) => {
    answer(request, [ecdsa, sm2], url).then(
      (reply) => send(response, reply),
      (error: unknown) => send(response, failure(error)),
    );
  });
  return {
    url,
    cas: { ecdsa, sm2 },
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      const address = server.address();
      if (address === null || typeof address === "string") reject(new Error("the server has no port"));
      else resolve(`http://127.0.0.1:${address.port}`);
    });
  });
}

type Reply = { readonly status: number; readonly type: string; readonly body: Uint8Array };

/** A request that is wrong; names the field. */
class RequestError extends Error {
  readonly status: number;
  readonly field: string;
  constructor(status: number, field: string, message: string) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

type Handler = (ca: Ca, request: IncomingMessage, baseUrl: string) => Promise<Reply>;

const ROUTES: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ["GET profile.json", async (ca, _, baseUrl) => json(ca.profile(baseUrl))],
  ["GET crl", async (ca) => binary("application/pkix-crl", await ca.crl("issuing"))],
  ["GET root-crl", async (ca) => binary("application/pkix-crl", await ca.crl("root"))],
  ["POST ocsp", async (ca, request) => binary("application/ocsp-response", ca.ocsp(await readBody(request)))],
  ["POST issue", async (ca, request) => json(await ca.enrol(readEnrolment(await readJson(request))))],
  ["POST revoke", revoke],
]);

async function answer(request: IncomingMessage, cas: readonly Ca[], url: string): Promise<Reply> {
  const { pathname } = new URL(request.url ?? "/", url);
  const [, room, id, noun, ...more] = pathname.split("/");
  const ca = cas.find((candidate) => candidate.id === id);
  const handler = ROUTES.get(`${request.method} ${noun}`);
  if (room !== "ca" || ca === undefined || handler === undefined || more.length > 0) {
    throw new RequestError(404, "path", "there is nothing here");
  }
  return handler(ca, request, `${url}/ca/${ca.id}`);
}

async function revoke(ca: Ca, request: IncomingMessage): Promise<Reply> {
  const body = await readJson(request);
  const serial = readText(body, "serial", /^[0-9a-fA-F]{1,40}$/).toLowerCase();
  if (!(await ca.revoke(serial, readReason(body["reason"])))) {
    throw new RequestError(404, "serial", "this CA issued no such certificate");
  }
  return json({});
}

function readReason(value: unknown): RevocationReason {
  if (value === undefined) return "unspecified";
  const reason = REVOCATION_REASONS.find((candidate) => candidate !== undefined && candidate === value);
  // Only a delta list removes, and these CAs have none.
  if (reason !== undefined && reason !== "removeFromCRL") return reason;
  throw new RequestError(400, "reason", "is not a reason of RFC 5280");
}

function readEnrolment(body: Record<string, unknown>) {
  const kind = ENROLMENT_KINDS.find((candidate) => candidate === body["kind"]);
  if (kind === undefined) throw new RequestError(400, "kind", `is not one of ${ENROLMENT_KINDS.join(", ")}`);
  const days = body["days"] ?? 365;
  if (typeof days !== "number" || !Number.isInteger(days) || days < 1 || days > DAYS_MAX) {
    throw new RequestError(400, "days", `is not a whole number from 1 to ${DAYS_MAX}`);
  }
  return {
    kind,
    name: readText(body, "name", /^[^\p{C}\p{Zl}\p{Zp}]{1,64}$/u),
    identifier: readText(body, "identifier", /^[0-9A-Za-z-]{1,64}$/),
    days,
  };
}

function readText(body: Record<string, unknown>, field: string, pattern: RegExp): string {
  const value = body[field];
  if (typeof value === "string" && pattern.test(value)) return value;
  throw new RequestError(400, field, "is missing or not of its form");
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const bytes = await readBody(request);
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // falls through to the one answer for a body that is no JSON object
  }
  throw new RequestError(400, "body", "is not a JSON object");
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > BODY_BYTES_MAX) throw new RequestError(413, "body", "is too large");
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

const binary = (type: string, body: Uint8Array): Reply => ({ status: 200, type, body });
const json = (value: unknown, status = 200): Reply => ({
  status,
  type: "application/json; charset=utf-8",
  body: Buffer.from(JSON.stringify(value), "utf8"),
});

function failure(error: unknown): Reply {
  if (error instanceof RequestError)
    return json({ error: { field: error.field, message: error.message } }, error.status);
  return json({ error: { message: "internal error" } }, 500);
}

function send(response: ServerResponse, reply: Reply): void {
  response.writeHead(reply.status, { "content-type": reply.type, "content-length": reply.body.length });
  response.end(reply.body);
}
