import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { Client, credentials, status } from "@grpc/grpc-js";
import { connectPeer } from "../src/clients/index.ts";
import { DomainError } from "../src/errors/index.ts";
import {
  Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../src/serve/gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../src/serve/gen/grpc/reflection/v1/reflection_pb.js";
import { handler } from "../src/serve/index.ts";
import { CarelessService, MistakenService, NumericService, ProbeService } from "./gen/fujie/testing/v1/testing_pb.js";
import { loopback, startProbe } from "./probe-server.ts";

const never = async () => {
  throw new Error("never called");
};

test("a method without an access rule is not served", async () => {
  await assert.rejects(startProbe({ handlers: [handler(CarelessService, { forget: never })] }), /no access rule/);
});

test("an object_field that is absent or no string is not served", async () => {
  await assert.rejects(
    startProbe({ handlers: [handler(MistakenService, { mistake: never })] }),
    /"absent" is no string/,
  );
  await assert.rejects(
    startProbe({ handlers: [handler(NumericService, { misname: never })] }),
    /"number" is no string/,
  );
});

test("a resource whose owners nobody can look up is not served", async () => {
  await assert.rejects(startProbe({ owners: {} }), /who owns a "widget"/);
});

test("clear text beyond loopback is not served", async () => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1", "example.org", ""]) {
    await assert.rejects(startProbe({ grpc: { address: { host, port: 0 } } }), /no TLS/);
    await assert.rejects(startProbe({ http: { address: { host, port: 0 } } }), /no TLS/);
  }
});

test("a listener that cannot open leaves none open behind it", async () => {
  await using first = await startProbe();
  const taken = { host: "127.0.0.1", port: first.server.adminPort };
  await assert.rejects(startProbe({ admin: { address: taken } }), /EADDRINUSE/);
});

const grpcTo = (port: number) => createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });

test("health says what readiness says, for the server and for each service", async () => {
  const state = { ready: true };
  await using probe = await startProbe({ ready: [{ name: "database", isReady: () => state.ready }] });
  const health = createClient(Health, grpcTo(probe.server.grpcPort));
  assert.equal((await health.check({})).status, ServingStatus.SERVING);
  assert.equal((await health.check({ service: ProbeService.typeName })).status, ServingStatus.SERVING);
  for await (const answer of health.watch({ service: "other" })) {
    assert.equal(answer.status, ServingStatus.SERVICE_UNKNOWN);
    break;
  }
  state.ready = false;
  assert.equal((await health.check({})).status, ServingStatus.NOT_SERVING);
  for await (const answer of health.watch({})) {
    assert.equal(answer.status, ServingStatus.NOT_SERVING);
    break;
  }
});

test("the health of a service that is not served is NOT_FOUND, over grpc-js and over Connect", async () => {
  await using probe = await startProbe();
  const overHttp = createConnectTransport({
    baseUrl: `http://127.0.0.1:${probe.server.httpPort}`,
    httpVersion: "1.1",
  });
  const isNotFound = (error: unknown) => {
    const refusal = ConnectError.from(error);
    assert.equal(refusal.code, Code.NotFound);
    assert.equal(refusal.findDetails(ErrorInfoSchema)[0]?.reason, "SERVICE_UNKNOWN");
    return true;
  };
  await assert.rejects(createClient(Health, overHttp).check({ service: "other" }), isNotFound);
  assert.equal((await createClient(Health, overHttp).check({})).status, ServingStatus.SERVING);
  assert.equal(await checkByGrpcJs(probe.server.grpcPort, ProbeService.typeName), status.OK);
  assert.equal(await checkByGrpcJs(probe.server.grpcPort, "other"), status.NOT_FOUND);
});

/** The status of a stock grpc-js client's health check. */
async function checkByGrpcJs(port: number, service: string): Promise<number> {
  using stack = new DisposableStack();
  const client = stack.adopt(new Client(`127.0.0.1:${port}`, credentials.createInsecure()), (open) => open.close());
  const { input, output } = Health.method.check;
  return await new Promise((resolve) => {
    client.makeUnaryRequest(
      "/grpc.health.v1.Health/Check",
      (request: HealthCheckRequest) => Buffer.from(toBinary(input, request)),
      (bytes) => fromBinary(output, bytes),
      create(input, { service }),
      (error) => resolve(error?.code ?? status.OK),
    );
  });
}

test("reflection describes the services in a sandbox and does not exist in production", async () => {
  await using sandbox = await startProbe();
  const client = createClient(ServerReflection, grpcTo(sandbox.server.grpcPort));
  async function* ask() {
    yield { messageRequest: { case: "listServices" as const, value: "" } };
    yield { messageRequest: { case: "fileContainingSymbol" as const, value: "fujie.testing.v1.ProbeService.Echo" } };
    yield { messageRequest: { case: "fileByFilename" as const, value: "absent.proto" } };
    yield { messageRequest: { case: "fileContainingSymbol" as const, value: "google.rpc.ErrorInfo" } };
  }
  const answers = [];
  for await (const { messageResponse } of client.serverReflectionInfo(ask())) answers.push(messageResponse);
  const [list, file, absent, errors] = answers;
  assert.ok(list?.case === "listServicesResponse");
  assert.ok(list.value.service.some(({ name }) => name === ProbeService.typeName));
  assert.ok(file?.case === "fileDescriptorResponse");
  assert.ok(file.value.fileDescriptorProto.length >= 3, "with what it imports");
  assert.ok(absent?.case === "errorResponse" && absent.value.errorCode === 5);
  assert.ok(errors?.case === "fileDescriptorResponse", "the details of refusals are described, too");

  await using production = await startProbe({ environment: "production" });
  const closed = createClient(ServerReflection, grpcTo(production.server.grpcPort));
  await assert.rejects(async () => {
    for await (const _ of closed.serverReflectionInfo(ask())) assert.fail("answered");
  }, /unimplemented/);
});

test("a drain under load loses no call: each is answered, or was never taken", async () => {
  await using probe = await startProbe();
  using peer = connectPeer({ target: `127.0.0.1:${probe.server.grpcPort}`, service: "probe" });
  const client = peer(ProbeService);
  const web = createClient(
    ProbeService,
    createConnectTransport({ baseUrl: `http://127.0.0.1:${probe.server.httpPort}`, httpVersion: "1.1" }),
  );
  const tally = { answered: 0, refused: 0 };
  const lost: unknown[] = [];
  let draining = false;
  async function callUntilRefused(call: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await call();
        tally.answered += 1;
      } catch (error) {
        const refused =
          draining && (error instanceof DomainError || /ECONNREFUSED|ECONNRESET|unavailable/.test(String(error)));
        if (refused) tally.refused += 1;
        else lost.push(error);
        return;
      }
    }
  }
  const callers = Array.from({ length: 16 }, () => callUntilRefused(() => client.echo({ text: "x" })));
  const webCallers = Array.from({ length: 4 }, () => callUntilRefused(() => web.echo({ text: "x" })));
  while (probe.handled < 200) await delay(5);
  draining = true;
  await probe.server.drain();
  await Promise.all([...callers, ...webCallers]);
  assert.deepEqual(lost, []);
  assert.ok(tally.answered > 100);
  // What the handler did is what the callers know of, but for HTTP/1.1, where a reset may hide an answer.
  assert.ok(probe.handled - tally.answered <= 4, `${probe.handled} handled, ${tally.answered} answered`);
});

test("a drain lets a slow call finish and ends streams that never would", async () => {
  await using probe = await startProbe();
  using peer = connectPeer({ target: `127.0.0.1:${probe.server.grpcPort}`, service: "probe" });
  const client = peer(ProbeService);
  const endless = (async () => {
    for await (const _ of client.countDown({ from: 1_000_000 }));
  })();
  const slow = client.wait({}, { timeoutMs: 300 });
  const outcomes = Promise.allSettled([endless, slow]);
  while (probe.handled === 0) await delay(5);
  const startedMs = performance.now();
  await probe.server.drain();
  assert.ok(performance.now() - startedMs < 3000);
  const reasons = (await outcomes).map((outcome) => outcome.status === "rejected" && outcome.reason.reason);
  assert.deepEqual(reasons, ["DEPENDENCY_UNAVAILABLE", "DEADLINE_EXCEEDED"]);
});

test("SIGTERM drains a running process and ends it well", async () => {
  const child = spawn(process.execPath, [fileURLToPath(new URL("./probe-process.ts", import.meta.url))], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  assert.equal(code, 0);
});

test("each server has ports of its own", async () => {
  await using probe = await startProbe({ http: { address: loopback } });
  const { grpcPort, httpPort, adminPort } = probe.server;
  assert.equal(new Set([grpcPort, httpPort, adminPort]).size, 3);
});
