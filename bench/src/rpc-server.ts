/**
 * One server of the rpc suite, as a process of its own: node rpc-server.ts <mode> <tls directory>.
 * Prints "<port> <token>" when it serves, and "<CPU microseconds since start>" for each line on its standard input.
 */
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { systemClock } from "@fujie/kit/clock";
import { createLogger } from "@fujie/kit/log";
import { startServer } from "@fujie/kit/serve";
import { startTelemetry, type Telemetry } from "@fujie/kit/telemetry";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import { createRevocationList, createTokenVerifier, staticJwks } from "@fujie/kit/tokens";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { exportJWK, SignJWT } from "jose";
import {
  type BounceRequest,
  BounceRequestSchema,
  type BounceResponse,
  BounceResponseSchema,
  ProbeService,
} from "../../packages/kit/tests/gen/fujie/testing/v1/testing_pb.js";
import { accountId, loopback, probeHandler } from "../../packages/kit/tests/probe-server.ts";

const [mode = "", tlsDirectory = ""] = process.argv.slice(2);

/** What a project without the kit writes: grpc-js, protobuf-es and nothing else. */
async function serveBareGrpc(tls: boolean): Promise<number> {
  const server = new Server();
  server.register<BounceRequest, BounceResponse>(
    "/fujie.testing.v1.ProbeService/Bounce",
    (call: { request: BounceRequest }, callback: (error: null, reply: BounceResponse) => void) => {
      const { text, number } = call.request;
      callback(null, create(BounceResponseSchema, { text, number }));
    },
    (reply) => Buffer.from(toBinary(BounceResponseSchema, reply)),
    (bytes) => fromBinary(BounceRequestSchema, bytes),
    "unary",
  );
  const credentials = tls ? await bareTls() : ServerCredentials.createInsecure();
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error === null ? resolve(port) : reject(error)));
  });
}

async function bareTls(): Promise<ServerCredentials> {
  const { certFile, keyFile } = await (await createLocalCa(tlsDirectory)).issueService("bench");
  const pair = { cert_chain: readFileSync(certFile), private_key: readFileSync(keyFile) };
  return ServerCredentials.createSsl(null, [pair], false);
}

async function serveBareConnect(): Promise<number> {
  const adapter = connectNodeAdapter({
    routes: (router) => router.service(ProbeService, { bounce: ({ text, number }) => ({ text, number }) }),
  });
  const server = http.createServer(adapter);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** Ours, with nothing to do: no telemetry is kept and the method is open. */
async function serveEmpty(tls: boolean): Promise<number> {
  const telemetry = startTelemetry({ service: "bench", environment: "sandbox", traceRatio: 0 });
  const span = telemetry.startServerSpan("nothing", () => undefined);
  const noSpan = { ...span, run: <Result>(work: () => Result) => work(), setAttribute: () => {}, end: () => {} };
  const silent: Telemetry = { ...telemetry, startServerSpan: () => noSpan, recordRpc: () => {} };
  return serveOurs(silent, { verify: () => Promise.reject(new Error("no token is needed")) }, tls);
}

async function serveOurs(
  telemetry: Telemetry,
  tokens: Parameters<typeof startServer>[0]["tokens"],
  tls: boolean,
  port: "grpcPort" | "httpPort" = "grpcPort",
): Promise<number> {
  const identity = tls ? loadIdentity(await (await createLocalCa(tlsDirectory)).issueService("bench")) : undefined;
  const server = await startServer({
    service: "bench",
    environment: "production",
    grpc: { address: loopback, tls: identity },
    http: { address: loopback },
    admin: { address: loopback },
    handlers: [probeHandler()],
    tokens,
    revocations: { isStale: () => false },
    owners: { widget: async () => undefined },
    telemetry,
    log: createLogger({ service: "bench", level: "warn" }),
    clock: systemClock,
  });
  return server[port];
}

/** Ours with all there is: a cached ES256 token, validation, 1 % of traces, the histogram. */
async function serveFull(): Promise<[port: number, token: string]> {
  const spanExporter = {
    export: (_: unknown, done: (result: { code: 0 }) => void) => done({ code: 0 }),
    shutdown: async () => {},
  };
  const telemetry = startTelemetry({ service: "bench", environment: "production", traceRatio: 0.01, spanExporter });
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwks = staticJwks({ keys: [{ ...(await exportJWK(publicKey)), kid: "bench", alg: "ES256", use: "sig" }] });
  const revocations = createRevocationList({ clock: systemClock });
  const issuer = "https://auth.example";
  const audience = "urn:fujie:api";
  const clock = systemClock;
  const tokens = createTokenVerifier({ issuer, audience, jwks, revocations, clock, cacheMax: 1000 });
  const claims = { kind: "person", client_id: "bench", app: "app-1", scope: "probe.read", level: 3, sid: "s-1" };
  // A token lives five minutes at most; the suite asks for a server's token anew when it takes longer.
  const token = await new SignJWT({ ...claims, auth_time: Math.floor(Date.now() / 1000), amr: ["pwd"] })
    .setProtectedHeader({ alg: "ES256", kid: "bench", typ: "at+jwt" })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(accountId)
    .setIssuedAt()
    .setExpirationTime("5m")
    .setJti("bench-1")
    .sign(privateKey);
  await tokens.verify(token);
  return [await serveOurs(telemetry, tokens, false), token];
}

async function serveMode(): Promise<[port: number, token: string]> {
  switch (mode) {
    case "bare-grpc":
      return [await serveBareGrpc(false), ""];
    case "bare-grpc-tls":
      return [await serveBareGrpc(true), ""];
    case "bare-connect":
      return [await serveBareConnect(), ""];
    case "empty":
      return [await serveEmpty(false), ""];
    case "empty-tls":
      return [await serveEmpty(true), ""];
    case "full":
      return serveFull();
    case "connect": {
      const telemetry = startTelemetry({ service: "bench", environment: "production", traceRatio: 0.01 });
      return [await serveOurs(telemetry, { verify: () => Promise.reject(new Error()) }, false, "httpPort"), ""];
    }
    default:
      throw new Error(`no mode "${mode}"`);
  }
}

const [port, token] = await serveMode();
process.stdout.write(`${port} ${token}\n`);
for await (const _ of createInterface({ input: process.stdin })) {
  const { user, system } = process.cpuUsage();
  process.stdout.write(`${user + system}\n`);
}
process.exit(0);
