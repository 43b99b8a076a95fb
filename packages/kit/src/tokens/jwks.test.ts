import assert from "node:assert/strict";
import { generateKeyPairSync, type JsonWebKey } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { manualClock } from "../clock/index.ts";
import { remoteJwks, staticJwks } from "./jwks.ts";

const START_MS = Date.UTC(2026, 0, 1);

function jwkOf(kid: string): JsonWebKey {
  return {
    ...generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "jwk" }),
    kid,
    alg: "ES256",
  };
}

/** An issuer whose keys change and which counts how often it is asked. */
function fakeIssuer() {
  const state = { asked: 0, fails: false, keys: [jwkOf("key-1")] };
  const load = async () => {
    state.asked += 1;
    if (state.fails) throw new Error("away");
    return { keys: state.keys };
  };
  return { state, load };
}

test("keys are asked for once, and known ones are found synchronously", async () => {
  const { state, load } = fakeIssuer();
  const jwks = remoteJwks("https://auth.example.cn/jwks", { load, clock: manualClock(START_MS) });
  const [first, second] = await Promise.all([jwks.find("key-1"), jwks.find("key-1")]);
  assert.equal(first?.keyId, "key-1");
  assert.equal(second, first);
  assert.equal(jwks.find("key-1"), first);
  assert.equal(state.asked, 1);
});

test("a flood of unknown key ids asks the issuer once per cool-down", async () => {
  const { state, load } = fakeIssuer();
  const clock = manualClock(START_MS);
  const jwks = remoteJwks("https://auth.example.cn/jwks", { load, clock });
  await jwks.find("key-1");
  clock.advance(10_000);
  const found = await Promise.all(Array.from({ length: 100 }, (_, index) => jwks.find(`unknown-${index}`)));
  assert.ok(found.every((key) => key === undefined));
  assert.equal(await jwks.find("unknown"), undefined);
  assert.equal(state.asked, 2);
});

test("a key that the issuer adds is found after the cool-down, one that it withdraws is forgotten", async () => {
  const { state, load } = fakeIssuer();
  const clock = manualClock(START_MS);
  const jwks = remoteJwks("https://auth.example.cn/jwks", { load, clock });
  await jwks.find("key-1");
  state.keys = [jwkOf("key-2")];
  clock.advance(10_000);
  assert.equal((await jwks.find("key-2"))?.keyId, "key-2");
  assert.equal(await jwks.find("key-1"), undefined);
});

test("known keys survive an hour without the issuer, then nothing is believed", async () => {
  const { state, load } = fakeIssuer();
  const clock = manualClock(START_MS);
  const jwks = remoteJwks("https://auth.example.cn/jwks", { load, clock });
  await jwks.find("key-1");
  state.fails = true;
  clock.advance(59 * 60_000);
  assert.equal((await jwks.find("key-1"))?.keyId, "key-1");
  await new Promise(setImmediate);
  clock.advance(60_000);
  await assert.rejects(async () => jwks.find("key-1"), { reason: "DEPENDENCY_UNAVAILABLE" });
});

test("an issuer that is away at first makes verification unavailable, not invalid", async () => {
  const { state, load } = fakeIssuer();
  state.fails = true;
  const jwks = remoteJwks("https://auth.example.cn/jwks", { load, clock: manualClock(START_MS) });
  await assert.rejects(async () => jwks.find("key-1"), { reason: "DEPENDENCY_UNAVAILABLE" });
});

test("documents with private keys, repeated ids or no usable key are refused", () => {
  const secret = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
  assert.throws(() => staticJwks({ keys: [{ ...secret, kid: "key-1" }] }), TypeError);
  assert.throws(() => staticJwks({ keys: [jwkOf("key-1"), jwkOf("key-1")] }), TypeError);
  assert.throws(() => staticJwks({ keys: [{ kty: "oct", k: "AAAA", kid: "key-1" }] }), TypeError);
  assert.throws(() => staticJwks({ keys: [{ ...jwkOf("key-1"), use: "enc" }] }), TypeError);
  assert.throws(() => staticJwks([]), TypeError);
});

test("the document is fetched over HTTP, without following redirects and bounded in size", async (t) => {
  const keys = [jwkOf("key-1")];
  const server = createServer((request, response) => {
    if (request.url === "/redirect") response.writeHead(302, { location: "/jwks" }).end();
    else if (request.url === "/huge") response.end(`{"keys":[],"x":"${"a".repeat(300_000)}"}`);
    else response.end(JSON.stringify({ keys }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === "object");
  const at = (path: string) => remoteJwks(`http://127.0.0.1:${bound.port}${path}`).find("key-1");
  assert.equal((await at("/jwks"))?.keyId, "key-1");
  await assert.rejects(async () => at("/redirect"), { reason: "DEPENDENCY_UNAVAILABLE" });
  await assert.rejects(async () => at("/huge"), { reason: "DEPENDENCY_UNAVAILABLE" });
});
