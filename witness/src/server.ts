import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createCosigner } from "@fujie/transparency";
import { addCheckpoint, type Witness } from "./add-checkpoint.ts";
import type { Settings } from "./config.ts";
import { readWitnessKey, verifierKeyOf } from "./key.ts";
import { openState } from "./state.ts";

/** A checkpoint with 64 signatures and a proof of 63 hashes is far below. */
const BODY_BYTES_MAX = 65_536;
const CONNECTIONS_MAX = 256;
const REQUEST_TIMEOUT_MS = 10_000;

export interface WitnessOptions {
  readonly settings: Settings;
  /** POSIX seconds; what cosignatures state. */
  readonly nowS: () => number;
  readonly log: (level: "info" | "error", message: string) => void;
}

export interface RunningWitness extends AsyncDisposable {
  readonly port: number;
  /** `name+keyid+key`, for whoever trusts this witness. */
  readonly verifierKey: string;
}

/** Serves `POST /add-checkpoint`, `GET /<origin hash>/checkpoint` and `GET /` (200 while it serves). */
export async function startWitness({ settings, nowS, log }: WitnessOptions): Promise<RunningWitness> {
  const { name, host, port, tls, logs } = settings;
  const key = readWitnessKey(settings.keyFile);
  await using stack = new AsyncDisposableStack();
  const state = stack.use(openState(settings.stateFile));
  const witness: Witness = {
    state,
    logs,
    cosigner: createCosigner({ name, publicKey: key.publicKey }, key.sign, nowS),
  };
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    respond(witness, request, response).catch((error: unknown) => {
      log("error", error instanceof Error ? error.message : "a request failed");
      send(response, 500, "text/plain", "internal error\n");
    });
  };
  const limits = { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS };
  const server: Server =
    tls === undefined
      ? createServer(limits, listener)
      : createTlsServer({ ...limits, cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, listener);
  server.maxConnections = CONNECTIONS_MAX;
  stack.defer(() => closeServer(server));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const owned = stack.move();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    verifierKey: verifierKeyOf(name, key),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function respond(witness: Witness, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = "" } = request;
  if (url === "/add-checkpoint") {
    if (method !== "POST") return send(response, 405, "text/plain", "only POST\n", { allow: "POST" });
    const body = await readBody(request);
    if (body === undefined) return send(response, 413, "text/plain", "too large\n", { connection: "close" });
    const answer = await addCheckpoint(witness, body);
    return send(response, answer.status, answer.status === 409 ? "text/x.tlog.size" : "text/plain", answer.body);
  }
  if (method !== "GET") return send(response, 405, "text/plain", "only GET\n", { allow: "GET" });
  if (url === "/") return send(response, 200, "text/plain", "ok\n");
  const [, originHash] = /^\/([0-9a-f]{64})\/checkpoint$/.exec(url) ?? [];
  const note = originHash === undefined ? undefined : witness.state.noteOf(originHash);
  return note === undefined
    ? send(response, 404, "text/plain", "not found\n")
    : send(response, 200, "text/plain", note);
}

async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Buffer)) return undefined;
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent) return;
  const contentType = type === "text/plain" ? "text/plain; charset=utf-8" : type;
  response.writeHead(status, { "content-type": contentType, "x-content-type-options": "nosniff", ...headers });
  response.end(body);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) return resolve();
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
