import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect, createServer, type PeerCertificate } from "node:tls";
import { manualClock } from "../clock/index.ts";
import { createLocalCa, IdentityError, loadIdentity, peerNameFromCertificate } from "./index.ts";

const DAY_MS = 86_400_000;
/** Certificates are judged by OpenSSL and TLS too, which have only the real time. */
const NOW_MS = Date.now();

function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "fujie-tls-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

async function openCa(t: TestContext) {
  const dir = temporaryDir(t);
  const clock = manualClock(NOW_MS);
  return { dir, clock, ca: await createLocalCa(dir, { clock }) };
}

test("OpenSSL verifies an issued certificate for both sides of TLS, strictly and by host", async (t) => {
  const { ca } = await openCa(t);
  const { certFile, caFile } = await ca.issueService("auth", { hosts: ["auth.internal"] });
  for (const purpose of ["sslserver", "sslclient"]) {
    const args = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", caFile];
    for (const name of [
      ["-verify_hostname", "localhost"],
      ["-verify_hostname", "auth.internal"],
      ["-verify_ip", "127.0.0.1"],
      ["-verify_ip", "::1"],
    ]) {
      assert.match(execFileSync("openssl", [...args, ...name, certFile], { encoding: "utf8" }), /: OK/);
    }
  }
});

test("a certificate names its service by SPIFFE id and localhost, in that many entries", async (t) => {
  const { ca } = await openCa(t);
  const { certFile } = await ca.issueService("trust-gateway");
  const certificate = new X509Certificate(readFileSync(certFile));
  assert.equal(
    certificate.subjectAltName,
    "URI:spiffe://fujie/trust-gateway, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
  );
  assert.equal(certificate.ca, false);
  assert.equal(peerNameFromCertificate(certificate), "trust-gateway");
});

test("private keys belong to their owner alone", async (t) => {
  const { ca, dir } = await openCa(t);
  const { keyFile } = await ca.issueService("auth");
  assert.equal(statSync(keyFile).mode & 0o777, 0o600);
  assert.equal(statSync(join(dir, "authority", "ca.key")).mode & 0o777, 0o600);
});

test("the authority is made once, also when two processes start together", async (t) => {
  const dir = temporaryDir(t);
  await Promise.all([createLocalCa(dir), createLocalCa(dir)]);
  const first = readFileSync(join(dir, "authority", "ca.pem"), "utf8");
  const again = await createLocalCa(dir);
  assert.equal(readFileSync(again.caFile, "utf8"), first);
});

test("a certificate is kept until less than a third of its life is left, or it is damaged or for other hosts", async (t) => {
  const { ca, clock } = await openCa(t);
  const { certFile, keyFile } = await ca.issueService("auth");
  const read = () => readFileSync(certFile, "utf8");
  const issued = read();
  clock.advance(59 * DAY_MS);
  await ca.issueService("auth");
  assert.equal(read(), issued);
  clock.advance(2 * DAY_MS);
  await ca.issueService("auth");
  const renewed = read();
  assert.notEqual(renewed, issued);
  await ca.issueService("auth", { hosts: ["auth.internal"] });
  const rehosted = read();
  assert.notEqual(rehosted, renewed);
  writeFileSync(keyFile, "damaged");
  await ca.issueService("auth", { hosts: ["auth.internal"] });
  assert.notEqual(read(), rehosted);
  assert.equal(loadIdentity({ certFile, keyFile, caFile: ca.caFile }, { clock, watchIntervalMs: 0 }).name, "auth");
});

test("no certificate is issued for a name that is no service's", async (t) => {
  const { ca, dir } = await openCa(t);
  for (const name of ["", "Auth", "../evil", "auth/x", "a,URI:spiffe://fujie/audit"]) {
    await assert.rejects(ca.issueService(name), IdentityError);
  }
  assert.equal(existsSync(join(dir, "..", "evil.pem")), false);
});

test("an expired authority and one with another key are refused", async (t) => {
  const { dir, clock } = await openCa(t);
  const other = await openCa(t);
  const later = manualClock(clock.nowMs() + 3_651 * DAY_MS);
  await assert.rejects(createLocalCa(dir, { clock: later }), IdentityError);
  copyFileSync(join(other.dir, "authority", "ca.key"), join(dir, "authority", "ca.key"));
  await assert.rejects(createLocalCa(dir, { clock }), IdentityError);
});

test("an identity is reloaded on renewal, as a whole and never as somebody else", async (t) => {
  const { ca, clock } = await openCa(t);
  const files = await ca.issueService("auth");
  using identity = loadIdentity(files, { clock, watchIntervalMs: 0 });
  const seen: string[] = [];
  using _listener = identity.onReload(({ cert }) => seen.push(cert));
  assert.equal(identity.reload(), false);
  const before = { cert: identity.cert, key: identity.key };

  clock.advance(61 * DAY_MS);
  const renewed = await ca.issueService("auth");
  const newKey = readFileSync(renewed.keyFile, "utf8");
  writeFileSync(files.keyFile, before.key);
  assert.equal(identity.reload(), false, "the old key beside the new certificate");
  assert.equal(identity.cert, before.cert);
  writeFileSync(files.keyFile, newKey);
  assert.equal(identity.reload(), true);
  assert.equal(identity.key, newKey);
  assert.deepEqual(seen, [identity.cert]);

  const other = await ca.issueService("audit");
  copyFileSync(other.certFile, files.certFile);
  copyFileSync(other.keyFile, files.keyFile);
  assert.equal(identity.reload(), false);
  assert.equal(identity.name, "auth");
});

test("an identity that is missing, expired, nameless or not of its key is refused without quoting it", async (t) => {
  const { ca, clock, dir } = await openCa(t);
  const files = await ca.issueService("auth");
  const other = await ca.issueService("audit");
  const nameless = { ...files, certFile: join(dir, "nameless.pem") };
  execFileSync("openssl", [
    "req",
    "-x509",
    "-new",
    "-key",
    files.keyFile,
    "-subj",
    "/CN=auth",
    "-days",
    "9",
    "-out",
    nameless.certFile,
  ]);
  const expired = manualClock(clock.nowMs() + 91 * DAY_MS);
  const options = { clock, watchIntervalMs: 0 };
  assert.throws(() => loadIdentity({ ...files, keyFile: "/nowhere" }, options), IdentityError);
  assert.throws(() => loadIdentity({ ...files, keyFile: other.keyFile }, options), IdentityError);
  assert.throws(() => loadIdentity({ ...files, keyFile: files.certFile }, options), IdentityError);
  assert.throws(() => loadIdentity({ ...files, certFile: files.keyFile }, options), /not a certificate/);
  assert.throws(() => loadIdentity(nameless, options), /names no service/);
  assert.throws(() => loadIdentity(files, { ...options, clock: expired }), /has expired/);
});

test("two services meet over mutual TLS and know each other's names", async (t) => {
  const { ca } = await openCa(t);
  using server = loadIdentity(await ca.issueService("registry"), { watchIntervalMs: 0 });
  using client = loadIdentity(await ca.issueService("auth"), { watchIntervalMs: 0 });
  const { cert, key, ca: authorities } = server;
  const peers: (string | undefined)[] = [];
  const listener = createServer(
    { cert, key, ca: authorities, requestCert: true, rejectUnauthorized: true },
    (socket) => {
      const peer: PeerCertificate = socket.getPeerCertificate();
      peers.push(peerNameFromCertificate(peer));
      socket.end();
    },
  );
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  t.after(() => listener.close());
  const bound = listener.address();
  assert.ok(bound !== null && typeof bound === "object");
  const socket = connect({ port: bound.port, host: "127.0.0.1", cert: client.cert, key: client.key, ca: client.ca });
  await once(socket, "secureConnect");
  peers.push(peerNameFromCertificate(socket.getPeerCertificate()));
  socket.resume();
  await once(socket, "close");
  assert.deepEqual(peers.toSorted(), ["auth", "registry"]);
});

test("only a certificate that names exactly one service of the platform gives a name", () => {
  const named: readonly (readonly [string | undefined, string | undefined])[] = [
    ["URI:spiffe://fujie/auth", "auth"],
    ["DNS:localhost, URI:spiffe://fujie/trust-gateway, IP Address:127.0.0.1", "trust-gateway"],
    [undefined, undefined],
    ["", undefined],
    ["DNS:auth", undefined],
    ["URI:spiffe://fujie/auth, URI:spiffe://fujie/audit", undefined],
    ["URI:spiffe://fujie/auth, URI:https://other.example", undefined],
    ["URI:spiffe://other/auth", undefined],
    ["URI:spiffe://fujie/auth/x", undefined],
    ["URI:spiffe://fujie/", undefined],
    ["URI:spiffe://fujie/AUTH", undefined],
    ["URI:SPIFFE://fujie/auth", undefined],
    ["URI:spiffe://fujie.evil/auth", undefined],
    ['DNS:"x, URI:spiffe://fujie/auth"', undefined],
    ['URI:"spiffe://fujie/auth, URI:x"', undefined],
    ['DNS:"x, URI:spiffe://fujie/audit", URI:spiffe://fujie/auth', "auth"],
    ["URI:spiffe://fujie/auth, ???", undefined],
  ];
  for (const [subjectAltName, name] of named) {
    assert.equal(peerNameFromCertificate({ subjectAltName }), name, subjectAltName);
    if (subjectAltName !== undefined) assert.equal(peerNameFromCertificate({ subjectaltname: subjectAltName }), name);
  }
  assert.equal(peerNameFromCertificate({}), undefined);
});
