import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import { openFileKeyRing } from "@fujie/kit/keys";
import { orderTokenKeys, ringJwks, TokenSigningKey } from "./keys.ts";

function openRing(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "fujie-keys-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const clock = manualClock(1_000_000);
  return { clock, ring: openFileKeyRing(folder, { service: "auth", create: true, clock }) };
}

test("a rotated key is published at once and signs when its time has come; the one before still verifies", async (t) => {
  const { clock, ring } = openRing(t);
  const [first] = orderTokenKeys(ring.publicKeys(), clock.nowMs());
  ring.rotate("token", { activateAfterMs: 60_000 });
  const before = orderTokenKeys(ring.publicKeys(), clock.nowMs());
  assert.deepEqual([before.length, before[0]?.keyId], [2, first?.keyId]);
  clock.advance(60_000);
  const after = orderTokenKeys(ring.publicKeys(), clock.nowMs());
  assert.notEqual(after[0]?.keyId, first?.keyId);
  assert.equal(after[1]?.keyId, first?.keyId);
  const jwks = ringJwks(() => ring);
  for (const { keyId } of after) assert.ok(await jwks.find(keyId));
  assert.equal(await jwks.find("unknown"), undefined);
});

test("a key that a rotation has replaced signs nothing under its old name", async (t) => {
  const { clock, ring } = openRing(t);
  const [entry] = orderTokenKeys(ring.publicKeys(), clock.nowMs());
  assert.ok(entry);
  const key = new TokenSigningKey(ring, entry);
  assert.equal((await key.sign(Buffer.from("bytes"))).length, 64);
  ring.rotate("token");
  await assert.rejects(key.sign(Buffer.from("bytes")), /rotated/);
});

test("keys for other uses never become token keys", (t) => {
  const { clock, ring } = openRing(t);
  const others = ring.publicKeys().filter(({ use }) => use !== "token");
  assert.ok(others.length > 0);
  assert.throws(() => orderTokenKeys(others, clock.nowMs()), /no token key/);
});
