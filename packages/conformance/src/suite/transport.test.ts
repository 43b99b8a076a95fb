// The transport cases find what they are for: each against a server that does just that.
import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { create } from "@bufbuild/protobuf";
import { CheckRequestSchema } from "@fujie/api/fujie/source/v1/source";
import { manualClock } from "@fujie/kit/clock";
import { createLocalCa } from "@fujie/kit/tls";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { type BenchOptions, createBench } from "../bench.ts";
import { CaseFailed } from "../outcome.ts";
import { runSuite } from "../run.ts";
import { openWire } from "../wire.ts";
import { suiteCaseIds, suiteCases } from "./index.ts";

const dir = mkdtempSync(join(tmpdir(), "fujie-transport-"));
let ca: string;
let identity: { cert: string; key: string };

before(async () => {
  const authority = await createLocalCa(dir);
  const { certFile, keyFile } = await authority.issueService("trust-gateway");
  ca = readFileSync(authority.caFile, "utf8");
  identity = { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
});
after(() => rmSync(dir, { recursive: true, force: true }));

function optionsFor(port: number): BenchOptions {
  return {
    endpoint: `127.0.0.1:${port}`,
    sourceId: "bank",
    peerName: "bank",
    audience: "fujie",
    ca,
    client: identity,
    otherClient: undefined,
    assertionKeys: new Map([["key-1", generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey]]),
    subjects: new Map(),
    control: undefined,
    stress: false,
    clock: manualClock(Date.UTC(2026, 2, 2)),
    sleep: async () => {},
    randomBytes: (size) => new Uint8Array(randomBytes(size)),
  };
}

/** Runs one case against the port; the request is not what matters here. */
async function runCase(id: string, port: number): Promise<void> {
  const options = optionsFor(port);
  const { endpoint, peerName, client } = options;
  using wire = openWire({ endpoint, peerName, ca, client });
  const bench = { ...createBench(options, wire, []), newCheck: async () => create(CheckRequestSchema) };
  const found = suiteCases.find((one) => one.id === id);
  assert.ok(found);
  await found.run(bench);
}

const failsWith = (problem: RegExp) => (error: unknown) => error instanceof CaseFailed && problem.test(error.message);

test("SZ-9 a source that still speaks TLS 1.1 is found, one that begins at 1.2 is not", async () => {
  const listen = async (minVersion: "TLSv1.1" | "TLSv1.2") => {
    const server = createTlsServer({ ...identity, minVersion, ciphers: "DEFAULT@SECLEVEL=0", ALPNProtocols: ["h2"] });
    server.on("secureConnection", (socket) => socket.on("error", () => socket.destroy()));
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    return { server, port: (server.address() as AddressInfo).port };
  };
  const [old, current] = [await listen("TLSv1.1"), await listen("TLSv1.2")];
  await assert.rejects(runCase("transport.tls-version", old.port), failsWith(/TLS 1.1 connection was accepted/));
  await runCase("transport.tls-version", current.port);
  for (const { server } of [old, current]) server.close();
  await assert.rejects(runCase("transport.tls-version", old.port), failsWith(/nothing was tested/));
});

test("SZ-9 a source that speaks clear text is found", async () => {
  const server = new Server();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  await assert.rejects(runCase("transport.clear-text", port), failsWith(/Describe ended with UNIMPLEMENTED/));
  server.forceShutdown();
});

test("SZ-9 a source that cannot be reached has failed in every case, and fast", async () => {
  const closed = createServer();
  await new Promise<void>((listening) => closed.listen(0, "127.0.0.1", listening));
  const { port } = closed.address() as AddressInfo;
  await new Promise((done) => closed.close(done));
  const told: string[] = [];
  const report = await runSuite({
    ...optionsFor(port),
    nonce: "A".repeat(43),
    testerKeyId: "0".repeat(16),
    onCase: ({ id }) => told.push(id),
  });
  assert.equal(report.verdict, "FAILED");
  assert.deepEqual(told, suiteCaseIds);
  assert.ok(report.cases.every(({ result }) => result === "FAILED"));
  assert.equal(report.cases[0]?.detail, "Describe ended with UNAVAILABLE");
});
