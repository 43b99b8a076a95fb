import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTcpServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { createEgress, EgressError, type EgressOptions, type EgressReason, isPublicAddress } from "./index.ts";

const bounds = { timeoutMs: 2_000, maxBytes: 1_000 };

function refusal(reason: EgressReason) {
  return (error: unknown) => error instanceof EgressError && error.reason === reason;
}

async function listen(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

/** A server on loopback that counts its calls, and a client that may call it by the name hook.test. */
async function serve(t: TestContext, answer: RequestListener, options: Partial<EgressOptions> = {}) {
  let calls = 0;
  const server = createServer((request, response) => {
    calls += 1;
    answer(request, response);
  });
  t.after(() => server.closeAllConnections());
  const port = await listen(t, server);
  const egress = createEgress({ ...bounds, allowHosts: ["hook.test"], resolve: async () => ["127.0.0.1"], ...options });
  return { url: `http://hook.test:${port}`, port, egress, calls: () => calls };
}

test("an allow-listed host is called, in clear text and on a private address, by its own name", async (t) => {
  const { url, port, egress } = await serve(t, (request, response) => {
    request.setEncoding("utf8").on("data", (body) => {
      response.setHeader("x-host", String(request.headers.host)).end(`${request.method} ${request.url} ${body}`);
    });
  });
  const headers = { "content-type": "text/plain", host: "evil.test" };
  const {
    status,
    body,
    headers: received,
  } = await egress(`${url}/path?q=1`, { method: "POST", headers, body: "你好" });
  assert.equal(status, 200);
  assert.equal(body.toString(), "POST /path?q=1 你好");
  assert.equal(received["x-host"], `hook.test:${port}`);
});

test("an allow-list entry with a port allows that port only", async (t) => {
  const { url, port } = await serve(t, (_request, response) => response.end());
  const resolve = async () => ["127.0.0.1"];
  const exact = createEgress({ ...bounds, allowHosts: [`hook.test:${port}`], resolve });
  assert.equal((await exact(url)).status, 200);
  const other = createEgress({ ...bounds, allowHosts: [`hook.test:${port + 1}`], resolve });
  await assert.rejects(other(url), refusal("SCHEME_FORBIDDEN"));
});

test("private, loopback, link-local, multicast and disguised addresses are refused before any connection", async (t) => {
  const { port, calls } = await serve(t, (_request, response) => response.end());
  const egress = createEgress(bounds);
  const hosts = [
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "127.1",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "①②⑦.⓪.⓪.①",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fec0::1]",
    "[ff02::1]",
    "localhost",
  ];
  for (const host of hosts) {
    await assert.rejects(egress(`https://${host}:${port}/`), refusal("ADDRESS_FORBIDDEN"), host);
  }
  assert.equal(calls(), 0);
});

test("only https to strangers, and only plain URLs", async () => {
  const egress = createEgress({ ...bounds, resolve: async () => ["93.184.216.34"] });
  await assert.rejects(egress("http://example.test/"), refusal("SCHEME_FORBIDDEN"));
  const invalid = [
    "",
    "/path",
    "ftp://a.test/",
    "file:///etc/passwd",
    "https://user:pass@a.test/",
    "https://a.test/#x",
    "https://",
    "gopher://a.test",
  ];
  for (const url of invalid) await assert.rejects(egress(url), refusal("URL_INVALID"), url);
});

test("a name that changes its address between check and use is not called at the second one", async (t) => {
  const tcp = createTcpServer((socket) => socket.destroy());
  let connections = 0;
  tcp.on("connection", () => {
    connections += 1;
  });
  const port = await listen(t, tcp);
  let asked = 0;
  const rebinding = createEgress({
    ...bounds,
    timeoutMs: 200,
    resolve: async () => {
      asked += 1;
      return asked === 1 ? ["8.8.4.4"] : ["127.0.0.1"];
    },
  });
  await assert.rejects(rebinding(`https://rebind.test:${port}/`), EgressError);
  assert.equal(asked, 1, "resolved once");
  assert.equal(connections, 0, "never called on loopback");
  await assert.rejects(rebinding(`https://rebind.test:${port}/`), refusal("ADDRESS_FORBIDDEN"));
  assert.equal(connections, 0);
});

test("a name with one private address among public ones, or with none, is refused", async () => {
  const mixed = createEgress({ ...bounds, resolve: async () => ["93.184.216.34", "10.0.0.1"] });
  await assert.rejects(mixed("https://mixed.test/"), refusal("ADDRESS_FORBIDDEN"));
  const none = createEgress({ ...bounds, resolve: async () => [] });
  await assert.rejects(none("https://none.test/"), refusal("NAME_UNRESOLVED"));
  const failing = createEgress({ ...bounds, resolve: () => Promise.reject(new Error("ENOTFOUND")) });
  await assert.rejects(failing("https://none.test/"), refusal("NAME_UNRESOLVED"));
});

test("redirects are refused, whatever they lead to", async (t) => {
  for (const status of [301, 302, 303, 307, 308]) {
    const { url, egress, calls } = await serve(t, (_request, response) => {
      response.writeHead(status, { location: "/again" }).end();
    });
    await assert.rejects(egress(url), refusal("REDIRECT_REFUSED"));
    assert.equal(calls(), 1);
  }
});

test("an answer larger than allowed is cut off, with and without a stated length", async (t) => {
  const stated = await serve(t, (_request, response) => response.end(Buffer.alloc(1_001)));
  await assert.rejects(stated.egress(stated.url), refusal("RESPONSE_TOO_LARGE"));
  const endless = await serve(t, (_request, response) => {
    const timer = setInterval(() => response.write(Buffer.alloc(400)), 1);
    response.on("close", () => clearInterval(timer));
  });
  await assert.rejects(endless.egress(endless.url), refusal("RESPONSE_TOO_LARGE"));
  const exact = await serve(t, (_request, response) => response.end(Buffer.alloc(1_000)));
  assert.equal((await exact.egress(exact.url)).body.length, 1_000);
});

test("a server or resolver that takes too long, hangs up or is not there is a typed failure", async (t) => {
  const slow = await serve(t, () => {}, { timeoutMs: 50 });
  await assert.rejects(slow.egress(slow.url), refusal("TIMEOUT"));
  const drip = await serve(t, (_request, response) => response.write("x"), { timeoutMs: 50 });
  await assert.rejects(drip.egress(drip.url), refusal("TIMEOUT"));
  const unresolving = createEgress({ ...bounds, timeoutMs: 50, resolve: () => new Promise(() => {}) });
  await assert.rejects(unresolving("https://slow.test/"), refusal("TIMEOUT"));
  const rude = await serve(t, (request) => request.socket.destroy());
  await assert.rejects(rude.egress(rude.url), refusal("UNREACHABLE"));
  const nobody = createEgress({ ...bounds, allowHosts: ["127.0.0.1"] });
  await assert.rejects(nobody("http://127.0.0.1:1/"), refusal("UNREACHABLE"));
  const cancelled = await serve(t, () => {});
  await assert.rejects(cancelled.egress(cancelled.url, { signal: AbortSignal.abort() }), refusal("UNREACHABLE"));
});

test("an error names the host and nothing else of the URL", async () => {
  const egress = createEgress({ ...bounds, resolve: async () => ["10.0.0.1"] });
  const error: unknown = await egress("https://hook.test/token-123?secret=456").catch((caught: unknown) => caught);
  assert.ok(error instanceof Error);
  assert.equal(error.message, "ADDRESS_FORBIDDEN hook.test");
});

test("a server without a trusted certificate is not called, allow-listed or not", async (t) => {
  let bytes = "";
  const plain = createTcpServer((socket) => {
    socket.on("data", (chunk) => {
      bytes += chunk.toString("latin1");
      socket.destroy();
    });
  });
  const port = await listen(t, plain);
  const egress = createEgress({ ...bounds, allowHosts: ["hook.test"], resolve: async () => ["127.0.0.1"] });
  await assert.rejects(egress(`https://hook.test:${port}/secret`), refusal("UNREACHABLE"));
  assert.ok(!bytes.includes("secret"));
});

test("an IPv4 address is public in no IPv6 disguise, and public ones are told from private", () => {
  for (const address of ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2400:3200::1"]) {
    assert.equal(isPublicAddress(address), true, address);
  }
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      assert.equal(isPublicAddress(`::ffff:${address}`), false);
      assert.equal(isPublicAddress(`::${address}`), false);
      assert.equal(isPublicAddress(`64:ff9b::${address}`), false);
    }),
  );
  for (const text of ["", "localhost", "8.8.8", "8.8.8.8 ", "2606:4700:4700::1111%eth0"]) {
    assert.equal(isPublicAddress(text), false, text);
  }
});
