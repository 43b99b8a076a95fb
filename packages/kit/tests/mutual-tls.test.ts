import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TLSSocket } from "node:tls";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { connectPeer, outgoing } from "../src/clients/index.ts";
import { DomainError } from "../src/errors/index.ts";
import { handler } from "../src/serve/index.ts";
import type { TlsMaterial } from "../src/tls/index.ts";
import { ProbeService } from "./gen/fujie/testing/v1/testing_pb.js";
import { accountId, foreignId, loopback, mintToken, type Probe, startProbe } from "./probe-server.ts";

let dir: string;
const listeners = new Set<(material: TlsMaterial) => void>();
let probe: Probe & AsyncDisposable;

/** Certificates made by OpenSSL: `ca` is the platform's authority, `rogue` a foreign one. */
function makeAuthority(name: string): void {
  openssl(
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -out ${name}.pem -days 2 -subj /CN=${name}`,
  );
}

function issue(authority: string, file: string, uri: string, days: { from?: string; to?: string } = {}): TlsMaterial {
  writeFileSync(join(dir, `${file}.ext`), `subjectAltName=URI:${uri},DNS:localhost,IP:127.0.0.1`);
  openssl(
    `req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${file}.key -out ${file}.csr -subj /CN=${file}`,
  );
  const validity = days.to === undefined ? "-days 2" : `-not_before ${days.from} -not_after ${days.to}`;
  if (days.to === undefined) {
    openssl(
      `x509 -req -in ${file}.csr -CA ${authority}.pem -CAkey ${authority}.key -out ${file}.pem ${validity} -extfile ${file}.ext`,
    );
  } else {
    writeFileSync(join(dir, "index.txt"), "");
    writeFileSync(
      join(dir, "ca.cnf"),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n`,
    );
    openssl(
      `ca -batch -notext -config ca.cnf -in ${file}.csr -cert ${authority}.pem -keyfile ${authority}.key -out ${file}.pem -startdate ${days.from} -enddate ${days.to} -extfile ${file}.ext`,
    );
  }
  return read(file, "ca");
}

function openssl(line: string): void {
  execFileSync("openssl", line.split(" "), { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
}

function read(file: string, authority: string): TlsMaterial {
  const text = (name: string) => readFileSync(join(dir, name), "utf8");
  return { cert: text(`${file}.pem`), key: text(`${file}.key`), ca: text(`${authority}.pem`) };
}

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "fujie-tls-"));
  makeAuthority("ca");
  makeAuthority("rogue");
  const material = issue("ca", "probe", "spiffe://fujie/probe");
  const onReload = (listener: (next: TlsMaterial) => void) => {
    listeners.add(listener);
    return { [Symbol.dispose]: () => void listeners.delete(listener) };
  };
  probe = await startProbe({
    grpc: { address: loopback, tls: { ...material, onReload } },
    http: { address: loopback, tls: { ...material, onReload } },
  });
});
after(async () => {
  await probe[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

const target = () => `127.0.0.1:${probe.server.grpcPort}`;

async function reasonWith(client: Partial<TlsMaterial>): Promise<string | undefined> {
  const nodeOptions = { ca: read("probe", "ca").ca, ...client };
  const transport = createGrpcTransport({ baseUrl: `https://${target()}`, nodeOptions });
  const call = createClient(ProbeService, transport).replicate({});
  return call.then(
    ({ peer }) => peer,
    (error: unknown) => ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason,
  );
}

test("a service is known by the SPIFFE-style name of its certificate", async () => {
  const identity = issue("ca", "registry", "spiffe://fujie/registry");
  using peer = connectPeer({ target: target(), service: "probe", identity });
  assert.equal((await peer(ProbeService).replicate({})).peer, "registry");
});

test("a service that the rule does not list is refused", async () => {
  const identity = issue("ca", "audit", "spiffe://fujie/audit");
  using peer = connectPeer({ target: target(), service: "probe", identity });
  await assert.rejects(peer(ProbeService).replicate({}), /PEER_FORBIDDEN/);
});

test("a listed service reads any account for itself, but as a subject only that subject's", async () => {
  const identity = issue("ca", "auth", "spiffe://fujie/auth");
  using peer = connectPeer({ target: target(), service: "probe", identity });
  const client = peer(ProbeService);
  assert.equal((await client.readAccount({ accountId: foreignId })).peer, "auth");
  const headers = { authorization: `Bearer ${mintToken({ scopes: ["probe.read"] })}` };
  assert.equal((await client.readAccount({ accountId }, { headers })).peer, "auth");
  await assert.rejects(client.readAccount({ accountId: foreignId }, { headers }), { reason: "OBJECT_FORBIDDEN" });
});

test("a platform team connects with server TLS and a token alone", async () => {
  const nodeOptions = { ca: read("probe", "ca").ca };
  const client = createClient(ProbeService, createGrpcTransport({ baseUrl: `https://${target()}`, nodeOptions }));
  const headers = { authorization: `Bearer ${mintToken({ scopes: ["probe.read"] })}` };
  assert.equal((await client.whoAmI({}, { headers })).subject, accountId);
  assert.equal(await reasonWith({}), "PEER_CERTIFICATE_INVALID");
});

test("a certificate of a foreign authority, an expired one and one without a name are refused, even for open methods", async () => {
  const expired = issue("ca", "expired", "spiffe://fujie/registry", { from: "20200101000000Z", to: "20200102000000Z" });
  const foreign = { ...issue("rogue", "foreign", "spiffe://fujie/registry"), ca: read("probe", "ca").ca };
  const nameless = issue("ca", "nameless", "spiffe://elsewhere/registry");
  for (const { cert, key } of [expired, foreign, nameless]) {
    assert.equal(await reasonWith({ cert, key }), "PEER_CERTIFICATE_INVALID");
    const nodeOptions = { ca: read("probe", "ca").ca, cert, key };
    const client = createClient(ProbeService, createGrpcTransport({ baseUrl: `https://${target()}`, nodeOptions }));
    await assert.rejects(client.echo({}), /unauthenticated/);
  }
});

test("a client refuses a server that is another service, though of the same authority", async () => {
  const identity = issue("ca", "registry", "spiffe://fujie/registry");
  using peer = connectPeer({ target: target(), service: "audit", identity });
  await assert.rejects(peer(ProbeService).echo({}, { timeoutMs: 2000 }), (error) => error instanceof DomainError);
});

test("a certificate is exchanged without restart", async () => {
  const serial = async () => {
    const session = http2.connect(`https://${target()}`, { ca: read("probe", "ca").ca });
    await new Promise((resolve, reject) => session.once("connect", resolve).once("error", reject));
    const socket = session.socket;
    assert.ok(socket instanceof TLSSocket);
    const found = socket.getPeerCertificate().serialNumber;
    session.destroy();
    return found;
  };
  const before = await serial();
  const renewed = issue("ca", "probe", "spiffe://fujie/probe");
  for (const listener of listeners) listener(renewed);
  assert.notEqual(await serial(), before);
});

test("the HTTP listener speaks HTTP/2 and HTTP/1.1 by ALPN, all kinds of calls", async () => {
  const nodeOptions = { ca: read("probe", "ca").ca };
  const baseUrl = `https://127.0.0.1:${probe.server.httpPort}`;
  for (const httpVersion of ["1.1", "2"] as const) {
    const client = createClient(ProbeService, createConnectTransport({ baseUrl, httpVersion, nodeOptions }));
    assert.equal((await client.echo({ text: httpVersion })).text, httpVersion);
    if (httpVersion === "1.1") continue;
    const headers = { authorization: `Bearer ${mintToken({ scopes: ["probe.read"] })}` };
    async function* lines() {
      yield { accountId, text: "a" };
      yield { accountId: foreignId, text: "b" };
    }
    const seen: string[] = [];
    await assert.rejects(async () => {
      for await (const { text } of client.chat(lines(), { headers })) seen.push(text);
    }, /permission_denied/);
    assert.deepEqual(seen, ["a"], "each message of a stream is judged by itself");
  }
});

test("what a handler calls carries the token, the deadline and cancellation of its caller on", async () => {
  const identity = issue("ca", "auth", "spiffe://fujie/auth");
  using peer = connectPeer({ target: target(), service: "probe", identity });
  const behind = peer(ProbeService);
  const unused = async () => {
    throw new DomainError("INTERNAL");
  };
  async function* unusedStream() {
    yield* [];
    throw new DomainError("INTERNAL");
  }
  await using front = await startProbe({
    handlers: [
      handler(ProbeService, {
        echo: unused,
        bounce: unused,
        measure: unused,
        whoAmI: (_request, call) => behind.whoAmI({}, outgoing(call)),
        wait: (_request, call) => behind.wait({}, outgoing(call)),
        fail: (request, call) => behind.fail(request, outgoing(call)),
        readAccount: (request, call) => behind.readAccount(request, outgoing(call)),
        readOrganisation: unused,
        readApplication: unused,
        readWidget: unused,
        administer: unused,
        replicate: unused,
        countDown: (request, call) => behind.countDown(request, outgoing(call)),
        sum: (requests, call) => behind.sum(requests, outgoing(call)),
        chat: unusedStream,
      }),
    ],
  });
  using frontPeer = connectPeer({ target: `127.0.0.1:${front.server.grpcPort}`, service: "probe" });
  const client = frontPeer(ProbeService);
  const headers = { authorization: `Bearer ${mintToken({ scopes: ["probe.read"], subject: foreignId })}` };
  assert.equal((await client.whoAmI({}, { headers })).subject, foreignId);
  assert.equal((await client.readAccount({ accountId: foreignId }, { headers })).peer, "auth");
  await assert.rejects(client.fail({ reason: "CONSENT_USED" }), { reason: "CONSENT_USED" });
  await assert.rejects(client.fail({ reason: "RATE_LIMITED" }), { reason: "RATE_LIMITED", retryDelayMs: 2500 });
  await assert.rejects(client.fail({ reason: "METHOD_UNKNOWN" }), { message: /INTERNAL/ });
  await assert.rejects(client.wait({}, { timeoutMs: 80 }), { reason: "DEADLINE_EXCEEDED" });
  await probe.waitAborted;
  const numbers: number[] = [];
  for await (const { number } of client.countDown({ from: 3 })) numbers.push(number);
  assert.deepEqual(numbers, [3, 2, 1]);
  async function* addends() {
    for (let number = 1; number <= 1000; number += 1) yield { number };
  }
  assert.equal((await client.sum(addends())).sum, 500_500);
});
