import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPublicKey, createSecretKey, randomBytes, verify } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { manualClock } from "../clock/index.ts";
import { type FileKeyRing, openFileKeyRing } from "./file-ring.ts";
import { KeyError } from "./key-ring.ts";
import { open, seal } from "./sealing.ts";

const START_MS = Date.UTC(2026, 0, 1);
const MESSAGE = Buffer.from("a statement of the platform");

function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "fujie-keys-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

function openRing(t: TestContext, service = "audit") {
  const dir = temporaryDir(t);
  const clock = manualClock(START_MS);
  return { dir, clock, ring: openFileKeyRing(dir, { service, create: true, clock }) };
}

test("every signing use signs and verifies; no other bytes, signature, key or use does", async (t) => {
  const { ring } = openRing(t);
  for (const use of ["feed", "checkpoint", "checkpoint-sm2"] as const) {
    const { keyId, signature } = await ring.sign(use, MESSAGE);
    assert.equal(signature.length, 64);
    assert.equal(ring.verify(use, keyId, MESSAGE, signature), true);
    assert.equal(ring.verify(use, keyId, Buffer.from("another"), signature), false);
    for (const at of [0, 31, 32, 63]) {
      const changed = Buffer.from(signature);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.equal(ring.verify(use, keyId, MESSAGE, changed), false);
    }
    for (const wrong of [
      Buffer.alloc(64),
      Buffer.alloc(64, 255),
      Buffer.alloc(0),
      Buffer.concat([signature, Buffer.of(0)]),
    ]) {
      assert.equal(ring.verify(use, keyId, MESSAGE, wrong), false);
    }
    assert.equal(ring.verify(use === "feed" ? "checkpoint" : "feed", keyId, MESSAGE, signature), false);
    assert.equal(ring.verify(use, `${keyId}x`, MESSAGE, signature), false);
  }
});

test("ES256 signatures are what JOSE wants: Node verifies them from the published JWK", async (t) => {
  const { ring } = openRing(t, "auth");
  const { keyId, signature } = await ring.sign("token", MESSAGE);
  const entry = ring.publicKeys().find((candidate) => candidate.keyId === keyId);
  assert.ok(entry);
  assert.equal(entry.algorithm, "ES256");
  assert.equal("d" in entry.jwk, false);
  const key = createPublicKey({ key: entry.jwk, format: "jwk" });
  assert.equal(verify("sha256", MESSAGE, { key, dsaEncoding: "ieee-p1363" }, signature), true);
});

/** A positive ASN.1 INTEGER. */
function derInteger(bytes: Uint8Array): Buffer {
  const start = bytes.findIndex((byte) => byte !== 0);
  const magnitude = Buffer.from(bytes.subarray(start));
  const content = (magnitude[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), magnitude]) : magnitude;
  return Buffer.concat([Buffer.of(2, content.length), content]);
}

test("SM2 signatures carry the default signer id: OpenSSL verifies them", async (t) => {
  const { ring, dir } = openRing(t);
  const { keyId, signature } = await ring.sign("checkpoint-sm2", MESSAGE);
  const jwk = ring.publicKeys().find((entry) => entry.keyId === keyId)?.jwk;
  assert.ok(jwk?.x !== undefined && jwk.y !== undefined);
  // SubjectPublicKeyInfo of id-ecPublicKey over sm2 (1.2.156.10197.1.301), then the point.
  const prefix = Buffer.from("3059301306072a8648ce3d020106082a811ccf5501822d03420004", "hex");
  const spki = Buffer.concat([prefix, Buffer.from(jwk.x, "base64url"), Buffer.from(jwk.y, "base64url")]);
  const pair = Buffer.concat([derInteger(signature.subarray(0, 32)), derInteger(signature.subarray(32))]);
  writeFileSync(join(dir, "key.der"), spki);
  writeFileSync(join(dir, "signature"), Buffer.concat([Buffer.of(0x30, pair.length), pair]));
  writeFileSync(join(dir, "message"), MESSAGE);
  const verified = execFileSync(
    "openssl",
    [
      "pkeyutl",
      "-verify",
      "-pubin",
      "-inkey",
      "key.der",
      "-keyform",
      "DER",
      "-rawin",
      "-digest",
      "sm3",
      "-in",
      "message",
    ].concat(["-sigfile", "signature", "-pkeyopt", "distid:1234567812345678"]),
    { cwd: dir, encoding: "utf8" },
  );
  assert.match(verified, /Signature Verified Successfully/);
});

test("the ring's file belongs to its owner alone, and one that everybody can read is refused", (t) => {
  const { dir } = openRing(t);
  const file = join(dir, "ring.json");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  chmodSync(file, 0o644);
  assert.throws(() => openFileKeyRing(dir, { service: "audit" }), KeyError);
});

test("a ring is opened only by its own service, and is not made unless asked", (t) => {
  const { dir } = openRing(t);
  assert.throws(() => openFileKeyRing(dir, { service: "auth" }), KeyError);
  assert.throws(() => openFileKeyRing(temporaryDir(t), { service: "auth" }), KeyError);
});

test("opening a ring again keeps its keys and adds what a new release needs", async (t) => {
  const dir = temporaryDir(t);
  const first = openFileKeyRing(dir, { service: "audit", create: true, uses: ["feed"] });
  const { keyId, signature } = await first.sign("feed", MESSAGE);
  assert.throws(() => first.hmac("page-token", "x"), KeyError);
  const second = openFileKeyRing(dir, { service: "audit", create: true });
  assert.equal(second.verify("feed", keyId, MESSAGE, signature), true);
  assert.equal(second.hmac("page-token", "x").version, 1);
});

test("a use that the service was not given does nothing", async (t) => {
  const { ring } = openRing(t);
  await assert.rejects(ring.sign("token", MESSAGE), KeyError);
  assert.throws(() => ring.hmac("consent-elements", "x"), KeyError);
  assert.throws(() => ring.hmacAll("consent-elements", "x"), KeyError);
  assert.equal(ring.hmacMatches("consent-elements", "x", Buffer.alloc(32)), false);
});

test("a rotated signing key becomes active later, and the old versions go on verifying", async (t) => {
  const { ring, clock } = openRing(t);
  const before = await ring.sign("checkpoint", MESSAGE);
  assert.equal(ring.rotate("checkpoint", { activateAfterMs: 60_000 }), 2);
  assert.equal((await ring.sign("checkpoint", MESSAGE)).keyId, before.keyId);
  clock.advance(60_000);
  const after = await ring.sign("checkpoint", MESSAGE);
  assert.notEqual(after.keyId, before.keyId);
  assert.equal(ring.verify("checkpoint", before.keyId, MESSAGE, before.signature), true);
  assert.equal(ring.verify("checkpoint", after.keyId, MESSAGE, after.signature), true);
  const old = ring.publicKeys().find((entry) => entry.keyId === before.keyId);
  assert.equal(old?.notAfterMs, START_MS + 60_000 + 600_000);
});

test("retiring destroys the private half of an old signing key, never the active one's", async (t) => {
  const { ring, dir } = openRing(t);
  const before = await ring.sign("checkpoint-sm2", MESSAGE);
  ring.rotate("checkpoint-sm2");
  assert.throws(() => ring.retire("checkpoint-sm2", 2), KeyError);
  assert.throws(() => ring.retire("checkpoint-sm2", 9), KeyError);
  ring.retire("checkpoint-sm2", 1);
  assert.equal(ring.verify("checkpoint-sm2", before.keyId, MESSAGE, before.signature), true);
  const stored: unknown = JSON.parse(readFileSync(join(dir, "ring.json"), "utf8"));
  assert.ok(typeof stored === "object" && stored !== null && "keys" in stored && Array.isArray(stored.keys));
  assert.equal("secret" in stored.keys.find((key) => key.keyId === before.keyId), false);
});

test("blind indexes are written under every live version, and found under each until it is retired", (t) => {
  const { ring } = openRing(t);
  const [old] = ring.hmacAll("blind-index", "identifier");
  assert.ok(old);
  ring.rotate("blind-index");
  const all = ring.hmacAll("blind-index", "identifier");
  assert.deepEqual(
    all.map(({ version }) => version),
    [2, 1],
  );
  assert.deepEqual(all[1]?.digest, old.digest);
  assert.equal(ring.hmac("blind-index", "identifier").version, 2);
  assert.equal(ring.hmacMatches("blind-index", "identifier", old.digest), true);
  ring.retire("blind-index", 1);
  assert.equal(ring.hmacMatches("blind-index", "identifier", old.digest), false);
});

test("digests of one use or service say nothing in another", (t) => {
  const { ring } = openRing(t);
  const other = openRing(t).ring;
  const { digest } = ring.hmac("page-token", "x");
  assert.notDeepEqual(ring.hmac("resume-token", "x").digest, digest);
  assert.notDeepEqual(other.hmac("page-token", "x").digest, digest);
  assert.equal(ring.hmacMatches("page-token", "x", digest.subarray(0, 31)), false);
});

test("a data key opens only in its own context, also after the ring's key was rotated", async (t) => {
  const { ring } = openRing(t);
  const { dataKey, wrapped } = await ring.newDataKey("subject:1");
  ring.rotate("data-key");
  assert.deepEqual((await ring.unwrap(wrapped, "subject:1")).export(), dataKey.export());
  await assert.rejects(ring.unwrap(wrapped, "subject:2"), KeyError);
  const changed = Buffer.from(wrapped);
  changed[20] = (changed[20] ?? 0) ^ 1;
  await assert.rejects(ring.unwrap(changed, "subject:1"), KeyError);
  await assert.rejects(ring.unwrap(Buffer.alloc(0), "subject:1"), KeyError);
  await assert.rejects(ring.unwrap(Buffer.from([1, 0, 9, ...wrapped.subarray(3)]), "subject:1"), KeyError);
});

test("what the ring seals opens under the same use and aad only, across rotations until retired", (t) => {
  const { ring } = openRing(t);
  const sealed = ring.seal("payload", "event:1", MESSAGE);
  ring.rotate("payload");
  assert.deepEqual(ring.open("payload", "event:1", sealed), MESSAGE);
  assert.throws(() => ring.open("payload", "event:2", sealed), KeyError);
  assert.throws(() => ring.open("response", "event:1", sealed), KeyError);
  assert.throws(() => ring.seal("payload", "", MESSAGE), KeyError);
  ring.retire("payload", 1);
  assert.throws(() => ring.open("payload", "event:1", sealed), KeyError);
});

test("another process's rotation is taken over by a reload; a damaged ring is not", async (t) => {
  const { ring, dir, clock } = openRing(t);
  const other = openFileKeyRing(dir, { service: "audit", clock });
  ring.rotate("feed");
  const { keyId, signature } = await ring.sign("feed", MESSAGE);
  assert.equal(other.verify("feed", keyId, MESSAGE, signature), false);
  other.reload();
  assert.equal(other.verify("feed", keyId, MESSAGE, signature), true);
  writeFileSync(join(dir, "ring.json"), '{"service":"audit","keys":[{}]}');
  assert.throws(() => other.reload(), KeyError);
  assert.equal(other.verify("feed", keyId, MESSAGE, signature), true);
});

test("a shared secret is not rotated in one ring alone", (t) => {
  const dir = temporaryDir(t);
  const ring = openFileKeyRing(dir, { service: "registry", create: true });
  assert.throws(() => ring.rotate("consent-elements"), KeyError);
});

test("sealing round-trips any bytes, never twice to the same, and refuses every change", () => {
  const key = createSecretKey(randomBytes(32));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ minLength: 1 }),
      fc.nat(),
      (plaintext, aad, position) => {
        const sealed = seal(key, aad, plaintext);
        assert.equal(sealed.length, plaintext.length + 28);
        assert.deepEqual(new Uint8Array(open(key, aad, sealed)), new Uint8Array(plaintext));
        assert.notDeepEqual(seal(key, aad, plaintext), sealed);
        const changed = Buffer.from(sealed);
        const at = position % sealed.length;
        changed[at] = (changed[at] ?? 0) ^ 1;
        assert.throws(() => open(key, aad, changed), KeyError);
        assert.throws(() => open(key, `${aad}x`, sealed), KeyError);
        assert.throws(() => open(createSecretKey(randomBytes(32)), aad, sealed), KeyError);
      },
    ),
  );
});

test("initialisation vectors never repeat over several pools", () => {
  const key = createSecretKey(randomBytes(32));
  const ivs = Array.from({ length: 2_000 }, () => seal(key, "aad", Buffer.alloc(1)).toString("hex", 0, 12));
  assert.equal(new Set(ivs).size, ivs.length);
});

/** Everything an error shows to whoever prints it. */
function shownBy(error: unknown): string {
  assert.ok(error instanceof Error);
  const cause = error.cause instanceof Error ? shownBy(error.cause) : "";
  return `${error.stack} ${JSON.stringify(error, Object.getOwnPropertyNames(error))} ${cause}`;
}

async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

test("no key material is in any error of a ring, damaged in any way", async (t) => {
  const { dir } = openRing(t);
  const file = join(dir, "ring.json");
  const text = readFileSync(file, "utf8");
  const secrets = [...text.matchAll(/"secret": ?"([^"]+)"/g)].map(([, secret]) => secret ?? "");
  assert.ok(secrets.length > 10);
  const leaked = (error: unknown) => secrets.filter((secret) => shownBy(error).includes(secret.slice(0, 12)));
  const damages: readonly ((ring: string) => string)[] = [
    (ring) => ring.slice(0, -20),
    (ring) => ring.replace("{", ""),
    (ring) => ring.replaceAll(/("secret": ?")/g, "$1AA"),
    (ring) => ring.replaceAll('"version": 1', '"version": "1"'),
    (ring) => ring.replaceAll('"use": "feed"', '"use": "token"'),
  ];
  for (const damage of damages) {
    writeFileSync(file, damage(text));
    const error = await thrownBy(() => openFileKeyRing(dir, { service: "audit" }));
    assert.ok(error instanceof KeyError);
    assert.deepEqual(leaked(error), []);
  }
  writeFileSync(file, text);
  const ring: FileKeyRing = openFileKeyRing(dir, { service: "audit" });
  for (const misuse of [
    () => ring.sign("token", MESSAGE),
    () => ring.open("payload", "a", Buffer.alloc(40, 1)),
    () => ring.retire("feed", 1),
  ]) {
    assert.deepEqual(leaked(await thrownBy(misuse)), []);
  }
});
