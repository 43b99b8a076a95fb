import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { manualClock } from "../clock/index.ts";
import { loadKeyBundle } from "./bundle.ts";
import { openFileKeyRing } from "./file-ring.ts";
import { KeyError } from "./key-ring.ts";
import { provisionKeys, rotateKey } from "./provision.ts";

const START_MS = Date.UTC(2026, 0, 1);
const SERVICES = ["auth", "registry", "trust-gateway", "audit"];
const MESSAGE = Buffer.from("a statement of the platform");

function provision(t: TestContext) {
  const rootDir = mkdtempSync(join(tmpdir(), "fujie-provision-"));
  t.after(() => rmSync(rootDir, { recursive: true }));
  const clock = manualClock(START_MS);
  const options = { rootDir, services: SERVICES, clock };
  const provisioned = provisionKeys(options);
  const ringOf = (service: string) => openFileKeyRing(provisioned.keysDir(service), { service, clock });
  const load = () => loadKeyBundle(provisioned.bundleFile, provisioned.bundleRootFile);
  return { rootDir, clock, options, ...provisioned, ringOf, load };
}

test("every service's signatures verify from the bundle, for that service and use only", async (t) => {
  const { ringOf, load } = provision(t);
  const bundle = load();
  const signers = [
    ["auth", "token"],
    ["registry", "consent"],
    ["trust-gateway", "receipt"],
    ["trust-gateway", "receipt-sm2"],
    ["audit", "checkpoint"],
    ["audit", "checkpoint-sm2"],
    ["audit", "feed"],
  ] as const;
  for (const [service, use] of signers) {
    const { keyId, signature } = await ringOf(service).sign(use, MESSAGE);
    const check = { keyId, use, service, bytes: MESSAGE, signature };
    assert.equal(bundle.verify(check), true);
    assert.equal(bundle.verify({ ...check, service: service === "auth" ? "audit" : "auth" }), false);
    assert.equal(bundle.verify({ ...check, use: use === "feed" ? "token" : "feed" }), false);
    assert.equal(bundle.verify({ ...check, bytes: Buffer.from("another") }), false);
    assert.equal(bundle.verify({ ...check, keyId: "unknown" }), false);
    assert.equal(bundle.verify({ ...check, atMs: START_MS }), true);
    assert.equal(bundle.verify({ ...check, atMs: START_MS - 1 }), false);
    assert.equal(bundle.find(keyId)?.service, service);
  }
});

test("private files are for their owner alone, and the bundle holds no private key", (t) => {
  const { rootDir, bundleFile } = provision(t);
  for (const file of ["root/bundle-root.key", ...SERVICES.map((service) => `${service}/ring.json`)]) {
    assert.equal(statSync(join(rootDir, file)).mode & 0o777, 0o600, file);
  }
  const envelope: unknown = JSON.parse(readFileSync(bundleFile, "utf8"));
  assert.ok(typeof envelope === "object" && envelope !== null && "payload" in envelope);
  const payload = Buffer.from(String(envelope.payload), "base64url").toString("utf8");
  assert.doesNotMatch(payload, /"d"|secret|PRIVATE/);
});

test("registry and trust-gateway hold the same consent secret, nobody else does", (t) => {
  const { ringOf } = provision(t);
  const { digest } = ringOf("registry").hmac("consent-elements", "elements");
  assert.deepEqual(ringOf("trust-gateway").hmac("consent-elements", "elements").digest, digest);
  assert.throws(() => ringOf("auth").hmac("consent-elements", "elements"), KeyError);
});

test("provisioning again changes nothing", (t) => {
  const { options, rootDir, bundleVersion } = provision(t);
  const files = [
    "public-keys.json",
    "bundle-root.pem",
    "registry/ring.json",
    "audit/ring.json",
    "root/bundle-root.key",
  ];
  const contents = () => files.map((file) => readFileSync(join(rootDir, file), "utf8"));
  const before = contents();
  assert.equal(provisionKeys(options).bundleVersion, bundleVersion);
  assert.deepEqual(contents(), before);
});

test("a rotation is published before it is active; old signatures go on verifying, for their time only", async (t) => {
  const { options, clock, ringOf, load } = provision(t);
  const old = await ringOf("trust-gateway").sign("receipt", MESSAGE);
  rotateKey({ ...options, service: "trust-gateway", use: "receipt" });
  const bundle = load();
  assert.equal(bundle.version, 2);
  const ring = ringOf("trust-gateway");
  assert.equal((await ring.sign("receipt", MESSAGE)).keyId, old.keyId);
  clock.advance(60 * 60_000);
  const fresh = await ring.sign("receipt", MESSAGE);
  assert.notEqual(fresh.keyId, old.keyId);
  const check = { use: "receipt", service: "trust-gateway", bytes: MESSAGE } as const;
  assert.equal(bundle.verify({ ...check, ...fresh }), true);
  assert.equal(bundle.verify({ ...check, ...old, atMs: START_MS }), true);
  assert.equal(bundle.verify({ ...check, ...old, atMs: START_MS + 24 * 60 * 60_000 }), false);
});

test("rotating the shared secret rotates it for every holder", (t) => {
  const { options, ringOf } = provision(t);
  const before = ringOf("registry").hmac("consent-elements", "elements");
  assert.equal(rotateKey({ ...options, service: "registry", use: "consent-elements", activateAfterMs: 0 }), 2);
  const after = ringOf("registry").hmac("consent-elements", "elements");
  assert.equal(after.version, 2);
  assert.deepEqual(ringOf("trust-gateway").hmacAll("consent-elements", "elements"), [after, before]);
});

test("a tampered bundle is refused, whichever part was changed", (t) => {
  const { bundleFile, bundleRootFile, load } = provision(t);
  const text = readFileSync(bundleFile, "utf8");
  const parsed: unknown = JSON.parse(text);
  assert.ok(typeof parsed === "object" && parsed !== null && "payload" in parsed);
  const payload = Buffer.from(String(parsed.payload), "base64url").toString("utf8");
  const withPayload = (changed: string) =>
    JSON.stringify({ ...parsed, payload: Buffer.from(changed).toString("base64url") });
  const tampered = [
    withPayload(payload.replace('"service":"auth"', '"service":"evil"')),
    withPayload(payload.replace('"version":1', '"version":9')),
    JSON.stringify({ ...parsed, signature: "" }),
    JSON.stringify({ ...parsed, protected: Buffer.from('{"alg":"none"}').toString("base64url") }),
    JSON.stringify({ ...parsed, signature: undefined }),
    text.slice(0, -10),
    "[]",
    "",
  ];
  for (const bundle of tampered) {
    writeFileSync(bundleFile, bundle);
    assert.throws(load, KeyError, bundle.slice(0, 40));
  }
  writeFileSync(bundleFile, text);
  assert.equal(loadKeyBundle(bundleFile, bundleRootFile).version, 1);
});

test("a bundle under another root is refused, and so is a root of another kind", (t) => {
  const { bundleRootFile, load } = provision(t);
  const pemOf = (type: "ed25519" | "x25519") =>
    (type === "ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("x25519")).publicKey
      .export({ format: "pem", type: "spki" })
      .toString();
  for (const root of [pemOf("ed25519"), pemOf("x25519"), "not a key"]) {
    writeFileSync(bundleRootFile, root);
    assert.throws(load, KeyError);
  }
});

test("an older bundle does not come back: neither on reload nor below the version remembered", (t) => {
  const { options, bundleFile, bundleRootFile, load } = provision(t);
  const first = readFileSync(bundleFile, "utf8");
  rotateKey({ ...options, service: "audit", use: "feed" });
  const bundle = load();
  writeFileSync(bundleFile, first);
  assert.throws(() => bundle.reload(), KeyError);
  assert.equal(bundle.version, 2);
  assert.throws(() => loadKeyBundle(bundleFile, bundleRootFile, { versionAtLeast: 2 }), KeyError);
});

test("a lost bundle root is told, not silently replaced", (t) => {
  const { options, rootDir } = provision(t);
  rmSync(join(rootDir, "root", "bundle-root.key"));
  assert.throws(() => provisionKeys(options), KeyError);
});
