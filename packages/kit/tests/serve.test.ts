import { strict as assert } from "node:assert";
import http from "node:http";
import http2 from "node:http2";
import { connect as connectTcp } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  LocalizedMessageSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "@fujie/api/google/rpc/error_details";
import { EchoRequestSchema, ProbeService } from "./gen/fujie/testing/v1/testing_pb.js";
import { accountId, foreignId, mintToken, type Probe, staleness, startProbe } from "./probe-server.ts";

let probe: Probe & AsyncDisposable;
let transports: Record<string, Transport>;

before(async () => {
  probe = await startProbe();
  const grpcUrl = `http://127.0.0.1:${probe.server.grpcPort}`;
  const baseUrl = `http://127.0.0.1:${probe.server.httpPort}`;
  transports = {
    gRPC: createGrpcTransport({ baseUrl: grpcUrl }),
    "Connect binary": createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: true }),
    "Connect JSON": createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
    "gRPC-Web": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  };
});
after(async () => {
  await probe[Symbol.asyncDispose]();
});

const protocols = ["gRPC", "Connect binary", "Connect JSON", "gRPC-Web"];
type ProbeClient = Client<typeof ProbeService>;

function clientOf(protocol: string): ProbeClient {
  const transport = transports[protocol];
  assert.ok(transport);
  return createClient(ProbeService, transport);
}

const bearer = (claims: Parameters<typeof mintToken>[0]) => ({
  headers: { authorization: `Bearer ${mintToken(claims)}` },
});

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => assert.fail("the call succeeded"),
    (error: unknown) => ConnectError.from(error),
  );
}

const infoOf = (error: ConnectError) => error.findDetails(ErrorInfoSchema)[0];
const reasonOf = async (call: Promise<unknown>) => infoOf(await failureOf(call))?.reason;

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function* from<Item>(items: readonly Item[]): AsyncIterable<Item> {
  yield* items;
}

for (const protocol of protocols) {
  describe(`over ${protocol}`, () => {
    test("all kinds of calls reach the one handler", async () => {
      const client = clientOf(protocol);
      const echo = await client.echo({ text: "符节", data: new Uint8Array([1, 2]), number: 7 });
      assert.deepEqual([echo.text, [...echo.data], echo.number], ["符节", [1, 2], 7]);
      const numbers = await collect(client.countDown({ from: 3 }));
      assert.deepEqual(
        numbers.map(({ number }) => number),
        [3, 2, 1],
      );
      const { sum } = await client.sum(from([{ number: 1 }, { number: 2 }, { number: 39 }]));
      assert.equal(sum, 42);
      if (protocol !== "gRPC") return;
      const lines = from([
        { accountId, text: "a" },
        { accountId, text: "b" },
      ]);
      const replies = await collect(client.chat(lines, bearer({ scopes: ["probe.read"] })));
      assert.deepEqual(
        replies.map(({ text }) => text),
        ["a", "b"],
      );
    });

    test("an empty client stream is a call, too", async () => {
      assert.equal((await clientOf(protocol).sum(from([]))).sum, 0);
    });

    test("a DomainError leaves with its code, reason, trace id and texts in both languages", async () => {
      const error = await failureOf(clientOf(protocol).fail({ reason: "AGREEMENT_NOT_ACCEPTED" }));
      assert.equal(error.code, Code.FailedPrecondition);
      assert.equal(infoOf(error)?.reason, "AGREEMENT_NOT_ACCEPTED");
      assert.equal(infoOf(error)?.domain, "fujie");
      const traceId = infoOf(error)?.metadata["trace_id"] ?? "";
      assert.match(traceId, /^[0-9a-f]{32}$/);
      assert.equal(error.metadata.get("x-trace-id"), traceId);
      const texts = error.findDetails(LocalizedMessageSchema);
      assert.deepEqual(
        texts.map(({ locale }) => locale),
        ["zh-CN", "en"],
      );
      assert.equal(texts[0]?.message, "未接受服务协议。");
      assert.equal(error.findDetails(PreconditionFailureSchema)[0]?.violations[0]?.subject, "agreement");
    });

    test("field violations, retry delays and quotas travel as details", async () => {
      const invalid = await failureOf(clientOf(protocol).fail({ reason: "NAME_INVALID" }));
      assert.equal(invalid.code, Code.InvalidArgument);
      assert.equal(invalid.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "person.name");
      const limited = await failureOf(clientOf(protocol).fail({ reason: "RATE_LIMITED" }));
      assert.equal(limited.code, Code.ResourceExhausted);
      const retryDelay = limited.findDetails(RetryInfoSchema)[0]?.retryDelay;
      assert.deepEqual([retryDelay?.seconds, retryDelay?.nanos], [2n, 500_000_000]);
      assert.equal(limited.findDetails(QuotaFailureSchema)[0]?.violations[0]?.subject, "application");
      if (protocol.startsWith("Connect")) assert.equal(limited.metadata.get("retry-after"), "3");
    });

    test("an unexpected fault is logged and leaves as INTERNAL without a text of its own", async () => {
      const error = await failureOf(clientOf(protocol).fail({ reason: "something personal" }));
      assert.equal(error.code, Code.Internal);
      assert.equal(infoOf(error)?.reason, "INTERNAL");
      assert.ok(!JSON.stringify([error.rawMessage, error.details]).includes("personal"));
      assert.ok(probe.logged.some((line) => line.includes(infoOf(error)?.metadata["trace_id"] ?? "?")));
    });

    test("a message that breaks its rules is refused with the path of each field", async () => {
      const error = await failureOf(clientOf(protocol).echo({ number: -1, part: { name: "x" } }));
      assert.equal(infoOf(error)?.reason, "FIELD_INVALID");
      const fields = error.findDetails(BadRequestSchema)[0]?.fieldViolations.map(({ field }) => field);
      assert.deepEqual(fields, ["number", "part.name"]);
      assert.equal(await reasonOf(clientOf(protocol).sum(from([{ number: 1 }, { number: -1 }]))), "FIELD_INVALID");
      assert.equal(await reasonOf(collect(clientOf(protocol).countDown({ from: 2_000_000 }))), "FIELD_INVALID");
    });

    test("a token is asked for, verified and matched with scope and object", async () => {
      const client = clientOf(protocol);
      const read = bearer({ scopes: ["probe.read"] });
      assert.equal((await client.whoAmI({}, read)).subject, accountId);
      assert.equal(await reasonOf(client.whoAmI({})), "TOKEN_MISSING");
      assert.equal(await reasonOf(client.whoAmI({}, { headers: { authorization: "Basic abc" } })), "TOKEN_INVALID");
      assert.equal(
        await reasonOf(client.whoAmI({}, { headers: { authorization: "Bearer nonsense!" } })),
        "TOKEN_INVALID",
      );
      assert.equal(
        await reasonOf(client.whoAmI({}, { headers: { authorization: "Bearer expired" } })),
        "TOKEN_EXPIRED",
      );
      assert.equal(await reasonOf(client.whoAmI({}, bearer({ scopes: ["probe.write"] }))), "SCOPE_MISSING");
      assert.equal((await client.whoAmI({}, { headers: { authorization: "bearer slow" } })).subject, accountId);
      await client.readAccount({ accountId }, read);
      assert.equal(await reasonOf(client.readAccount({ accountId: foreignId }, read)), "OBJECT_FORBIDDEN");
      assert.equal(await reasonOf(client.readAccount({}, read)), "OBJECT_FORBIDDEN");
      await client.readApplication({ applicationId: "app-1" }, read);
      assert.equal(await reasonOf(client.readApplication({ applicationId: "app-2" }, read)), "OBJECT_FORBIDDEN");
    });

    test("no organisation in the token is not the empty organisation", async () => {
      const client = clientOf(protocol);
      assert.equal(await reasonOf(client.readOrganisation({}, bearer({ scopes: ["probe.read"] }))), "OBJECT_FORBIDDEN");
      const acting = bearer({ scopes: ["probe.admin"], organisation: "org-1" });
      await client.readOrganisation({ organisationId: "org-1" }, acting);
    });

    test("an owned resource is for its owners; a missing one answers as a foreign one", async () => {
      const client = clientOf(protocol);
      await client.readWidget({ widgetId: "widget-1" }, bearer({ scopes: ["probe.read"] }));
      await client.readWidget(
        { widgetId: "widget-1" },
        bearer({ scopes: ["probe.read"], subject: foreignId, organisation: "org-1" }),
      );
      const stranger = bearer({ scopes: ["probe.read"], subject: foreignId });
      assert.equal(await reasonOf(client.readWidget({ widgetId: "widget-1" }, stranger)), "OBJECT_FORBIDDEN");
      assert.equal(await reasonOf(client.readWidget({ widgetId: "widget-2" }, stranger)), "OBJECT_FORBIDDEN");
    });

    test("a privileged method fails closed while revocations are stale", async () => {
      const admin = bearer({ scopes: ["probe.admin"] });
      await clientOf(protocol).administer({}, admin);
      staleness.stale = true;
      try {
        assert.equal(await reasonOf(clientOf(protocol).administer({}, admin)), "REVOCATIONS_STALE");
        await clientOf(protocol).whoAmI({}, bearer({ scopes: ["probe.read"] }));
      } finally {
        staleness.stale = false;
      }
    });

    test("a method for services refuses subjects", async () => {
      const client = clientOf(protocol);
      assert.equal(await reasonOf(client.replicate({})), "PEER_CERTIFICATE_INVALID");
      assert.equal(await reasonOf(client.replicate({}, bearer({ scopes: ["probe.admin"] }))), "PEER_FORBIDDEN");
    });

    test("the method's own deadline applies when the caller sets none, and the handler hears of it", async () => {
      const startedMs = performance.now();
      const error = await failureOf(clientOf(protocol).wait({}));
      assert.equal(infoOf(error)?.reason, "DEADLINE_EXCEEDED");
      assert.equal(error.code, Code.DeadlineExceeded);
      assert.ok(performance.now() - startedMs < 2000);
      await probe.waitAborted;
    });

    test("a message above the limit is refused with its reason", async () => {
      const data = new Uint8Array(4 * 1024 * 1024 + 1);
      const error = await failureOf(clientOf(protocol).echo({ data }));
      assert.equal(error.code, Code.ResourceExhausted);
      assert.equal(infoOf(error)?.reason, "MESSAGE_TOO_LARGE");
    });
  });
}

test("a client that cancels aborts the handler's signal", async () => {
  for (const protocol of ["gRPC", "Connect JSON"]) {
    await using other = await startProbe();
    const transport =
      protocol === "gRPC"
        ? createGrpcTransport({ baseUrl: `http://127.0.0.1:${other.server.grpcPort}` })
        : createConnectTransport({ baseUrl: `http://127.0.0.1:${other.server.httpPort}`, httpVersion: "1.1" });
    const abort = new AbortController();
    const call = createClient(ProbeService, transport).wait({}, { signal: abort.signal, timeoutMs: 60_000 });
    while (other.handled === 0) await delay(5);
    abort.abort();
    assert.equal((await failureOf(call)).code, Code.Canceled);
    await other.waitAborted;
  }
});

// Raw requests: what stock clients refuse to send.

interface RawAnswer {
  readonly status: string;
  readonly reason: string | undefined;
}

async function rawGrpc(headers: http2.OutgoingHttpHeaders, body = framed(new Uint8Array())): Promise<RawAnswer> {
  const session = http2.connect(`http://127.0.0.1:${probe.server.grpcPort}`);
  session.on("error", () => {});
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/fujie.testing.v1.ProbeService/Echo",
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    const seen: http2.IncomingHttpHeaders[] = [];
    stream.on("response", (received) => seen.push(received));
    stream.on("trailers", (received) => seen.push(received));
    stream.on("error", () => {});
    stream.end(body);
    stream.resume();
    await new Promise((resolve) => stream.once("close", resolve));
    const all = Object.assign({}, ...seen);
    const details = all["grpc-status-details-bin"];
    const text = details === undefined ? "" : Buffer.from(String(details), "base64").toString("latin1");
    return { status: String(all["grpc-status"] ?? "none"), reason: /[A-Z]+(_[A-Z]+)+/.exec(text)?.[0] };
  } finally {
    session.destroy();
  }
}

function framed(bytes: Uint8Array, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head[0] = compressed ? 1 : 0;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

test("a deadline that is malformed, negative or longer than five minutes is refused over gRPC", async () => {
  for (const timeout of ["nonsense", "-5S", "5", "S", "123456789S", "99999999H", "301S", "1.5S"]) {
    const { status, reason } = await rawGrpc({ "grpc-timeout": timeout });
    assert.deepEqual([timeout, status, reason], [timeout, "3", "DEADLINE_MALFORMED"]);
  }
  assert.deepEqual(await rawGrpc({ "grpc-timeout": "0S" }), { status: "4", reason: "DEADLINE_EXCEEDED" });
  assert.equal((await rawGrpc({ "grpc-timeout": "5M" })).status, "0");
  assert.equal((await rawGrpc({})).status, "0");
});

async function postJson(path: string, body: string | Buffer, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; headers: http.IncomingHttpHeaders; body: string }>((resolve, reject) => {
    const request = http.request(
      {
        port: probe.server.httpPort,
        host: "127.0.0.1",
        method: "POST",
        path,
        // A kept connection may be closed by the server just as it is used again.
        agent: false,
        headers: { "content-type": "application/json", ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

const echoPath = "/fujie.testing.v1.ProbeService/Echo";

async function postReason(path: string, body: string | Buffer, headers: Record<string, string> = {}) {
  const answer = await postJson(path, body, headers);
  const details: { type: string; value: string }[] = JSON.parse(answer.body).details ?? [];
  const info = details.find(({ type }) => type === "google.rpc.ErrorInfo");
  const text = Buffer.from(info?.value ?? "", "base64").toString("latin1");
  return { status: answer.status, reason: /[A-Z]+(_[A-Z]+)+/.exec(text)?.[0] };
}

test("a deadline that is malformed, negative or longer than five minutes is refused over Connect", async () => {
  for (const timeout of ["nonsense", "-5", "1.5", "300001", "99999999999", "0x10"]) {
    const answer = await postReason(echoPath, "{}", { "connect-timeout-ms": timeout });
    assert.deepEqual([timeout, answer.reason], [timeout, "DEADLINE_MALFORMED"]);
    assert.equal(answer.status, 400);
  }
  assert.equal((await postReason(echoPath, "{}", { "connect-timeout-ms": "0" })).reason, "DEADLINE_EXCEEDED");
  assert.equal((await postJson(echoPath, "{}", { "connect-timeout-ms": "300000" })).status, 200);
});

test("JSON with unknown fields, lone surrogates, invalid UTF-8 or bad syntax is malformed", async () => {
  const bodies = ['{"unknown":1}', '{"text":"\\ud800"}', '{"text":"\\udc00\\ud800"}', "{", "", "[]", '{"text":5}'];
  for (const body of [...bodies, Buffer.from([0x7b, 0x22, 0x74, 0xff, 0x22, 0x7d])]) {
    const answer = await postReason(echoPath, body);
    assert.deepEqual([String(body), answer.status, answer.reason], [String(body), 400, "REQUEST_MALFORMED"]);
  }
  assert.equal((await postJson(echoPath, '{"text":"\\ud83d\\ude00 \\\\ud800"}')).status, 200);
});

test("binary messages that do not parse or hold invalid UTF-8 are malformed over gRPC", async () => {
  for (const bytes of [[0x0a, 0x05, 0x61], [0x0a, 0x02, 0xff, 0xfe], [0xff]]) {
    const answer = await rawGrpc({}, framed(new Uint8Array(bytes)));
    assert.deepEqual(answer, { status: "3", reason: "REQUEST_MALFORMED" });
  }
});

test("a call without a message, or with two, is malformed", async () => {
  assert.deepEqual(await rawGrpc({}, Buffer.alloc(0)), { status: "3", reason: "REQUEST_MALFORMED" });
  const two = Buffer.concat([framed(new Uint8Array()), framed(new Uint8Array())]);
  assert.deepEqual(await rawGrpc({}, two), { status: "3", reason: "REQUEST_MALFORMED" });
});

test("a gzip bomb is refused before it unfolds, over both protocols", async () => {
  const bomb = toBinary(EchoRequestSchema, create(EchoRequestSchema, { data: new Uint8Array(64 * 1024 * 1024) }));
  const packed = gzipSync(bomb);
  assert.ok(packed.length < 1024 * 1024);
  const answer = await rawGrpc({ "grpc-encoding": "gzip" }, framed(packed, true));
  assert.deepEqual(answer, { status: "8", reason: "MESSAGE_TOO_LARGE" });
  const overHttp = await postReason(echoPath, packed, {
    "content-type": "application/proto",
    "content-encoding": "gzip",
  });
  assert.deepEqual(overHttp, { status: 429, reason: "MESSAGE_TOO_LARGE" });
});

test("ten thousand headers are not taken in, and the server lives on", async () => {
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`x-${index}`, "v"]));
  assert.notEqual((await rawGrpc(many)).status, "0");
  const overHttp = await postJson(echoPath, "{}", many).catch((error: Error) => ({ status: error.message }));
  assert.notEqual(overHttp.status, 200);
  assert.equal((await rawGrpc({})).status, "0");
});

test("headers above the size limit are refused", async () => {
  assert.notEqual((await rawGrpc({ "x-big": "v".repeat(20_000) })).status, "0");
});

test("an unknown method says METHOD_UNKNOWN over both protocols", async () => {
  const path = "/fujie.testing.v1.ProbeService/Nothing";
  assert.deepEqual(await rawGrpc({ ":path": path }), { status: "12", reason: "METHOD_UNKNOWN" });
  assert.deepEqual(await postReason(path, "{}"), { status: 501, reason: "METHOD_UNKNOWN" });
});

test("a body that never ends is answered at the deadline", async () => {
  const socket = connectTcp(probe.server.httpPort, "127.0.0.1");
  socket.write(
    `POST ${echoPath} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\nconnect-timeout-ms: 50\r\n\r\n{`,
  );
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await new Promise((resolve) => socket.once("close", resolve));
  assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 504 /);
});

test("browsers of listed origins may call and read trace id and retry time; others may not", async () => {
  const preflight = (origin: string) =>
    fetch(`http://127.0.0.1:${probe.server.httpPort}${echoPath}`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
    });
  const good = await preflight("https://app.example");
  assert.equal(good.status, 204);
  assert.equal(good.headers.get("access-control-allow-origin"), "https://app.example");
  assert.match(good.headers.get("access-control-allow-headers") ?? "", /authorization/i);
  const bad = await preflight("https://app.example.evil");
  assert.equal(bad.status, 403);
  assert.equal(bad.headers.get("access-control-allow-origin"), null);
  const answer = await postJson(echoPath, "{}", { origin: "https://app.example" });
  assert.match(String(answer.headers["access-control-expose-headers"]), /grpc-status-details-bin.*X-Trace-Id/i);
  assert.equal(answer.headers["vary"], "Origin");
  assert.equal((await postJson(echoPath, "{}", { origin: "null" })).headers["access-control-allow-origin"], undefined);
});

test("the admin port tells liveness, readiness by name, start-up and metrics", async () => {
  const state = { ready: false };
  const ready = [
    { name: "database", isReady: () => state.ready },
    { name: "policy", isReady: async () => true },
  ];
  await using other = await startProbe({ ready });
  const read = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${other.server.adminPort}${path}`);
    return { status: response.status, body: await response.text() };
  };
  assert.equal((await read("/livez")).status, 200);
  assert.equal((await read("/startupz")).status, 503);
  const waiting = await read("/readyz");
  assert.equal(waiting.status, 503);
  assert.deepEqual(JSON.parse(waiting.body).checks, { serving: true, database: false, policy: true });
  state.ready = true;
  assert.equal((await read("/startupz")).status, 200);
  state.ready = false;
  assert.equal((await read("/startupz")).status, 200, "start-up is passed once");
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${other.server.grpcPort}` });
  await createClient(ProbeService, transport).echo({});
  assert.match((await read("/metrics")).body, /rpc_server_call_duration.*ProbeService\/Echo/);
  assert.equal((await read("/secrets")).status, 404);
});

test("mounted pages get every path that is no method", async () => {
  await using other = await startProbe({ mountHttp: (_request, response) => void response.end("a page") });
  const base = `http://127.0.0.1:${other.server.httpPort}`;
  assert.equal(await (await fetch(`${base}/authorize?x=1`)).text(), "a page");
  assert.equal(
    (await fetch(`${base}${echoPath}`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }))
      .status,
    200,
  );
});
