import assert from "node:assert/strict";
import { createHmac, createSign, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { type ManualClock, manualClock } from "../clock/index.ts";
import { DomainError } from "../errors/index.ts";
import { staticJwks, TokenCheckError } from "./index.ts";
import { createRevocationList, type RevocationList } from "./revocation-list.ts";
import type { VerifiedToken } from "./verified-token.ts";
import { createTokenVerifier, type TokenVerifier } from "./verifier.ts";

const ISSUER = "https://auth.example.cn";
const AUDIENCE = "urn:fujie:api";
const START_MS = Date.UTC(2026, 0, 1);

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed = generateKeyPairSync("ed25519");
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const jwks = staticJwks({
  keys: [
    { ...ec.publicKey.export({ format: "jwk" }), kid: "ec-1", alg: "ES256", use: "sig" },
    { ...ed.publicKey.export({ format: "jwk" }), kid: "ed-1", alg: "EdDSA", use: "sig" },
    { ...rsa.publicKey.export({ format: "jwk" }), kid: "rsa-1", alg: "RS256", use: "sig" },
  ],
});

interface Bench {
  readonly clock: ManualClock;
  readonly revocations: RevocationList;
  readonly verifier: TokenVerifier;
}

function setUp(cacheMax = 100): Bench {
  const clock = manualClock(START_MS);
  const revocations = createRevocationList({ clock });
  const verifier = createTokenVerifier({ issuer: ISSUER, audience: AUDIENCE, jwks, revocations, clock, cacheMax });
  return { clock, revocations, verifier };
}

const GOOD_HEADER = { alg: "ES256", typ: "at+jwt", kid: "ec-1" };

function goodClaims(): Record<string, unknown> {
  return {
    iss: ISSUER,
    aud: AUDIENCE,
    sub: "account-1",
    kind: "person",
    client_id: "client-1",
    app: "application-1",
    scope: "registry.accounts.read trust.verify",
    level: 3,
    org: "organisation-1",
    role: "CLERK",
    sid: "session-1",
    auth_time: START_MS / 1000 - 60,
    amr: ["pwd", "otp"],
    iat: START_MS / 1000,
    exp: START_MS / 1000 + 300,
  };
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

type SignInput = (input: Buffer) => Buffer;

const es256: SignInput = (input) => sign("sha256", input, { key: ec.privateKey, dsaEncoding: "ieee-p1363" });
const eddsa: SignInput = (input) => sign(null, input, ed.privateKey);

function mint(claims: unknown = goodClaims(), header: unknown = GOOD_HEADER, signInput: SignInput = es256): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${signInput(Buffer.from(input)).toString("base64url")}`;
}

/** The reason of the refusal, and for TOKEN_INVALID the check that failed. */
async function refusal(verifier: TokenVerifier, token: string): Promise<string> {
  try {
    await verifier.verify(token);
    return "accepted";
  } catch (error) {
    assert.ok(error instanceof DomainError);
    return error.cause instanceof TokenCheckError ? `${error.reason} ${error.cause.message}` : error.reason;
  }
}

test("a good token gives all its claims", async () => {
  const { verifier } = setUp();
  const raw = mint();
  assert.deepEqual(await verifier.verify(raw), {
    subject: "account-1",
    kind: "person",
    clientId: "client-1",
    application: "application-1",
    scopes: new Set(["registry.accounts.read", "trust.verify"]),
    level: 3,
    organisation: "organisation-1",
    role: "CLERK",
    sessionId: "session-1",
    authTimeMs: START_MS - 60_000,
    amr: ["pwd", "otp"],
    issuedAtMs: START_MS,
    expiresAtMs: START_MS + 300_000,
    raw,
  } satisfies VerifiedToken);
});

test("EdDSA tokens are accepted under an Ed25519 key, and audiences may be a list", async () => {
  const { verifier } = setUp();
  const token = mint(
    { ...goodClaims(), aud: ["https://other", AUDIENCE] },
    { ...GOOD_HEADER, alg: "EdDSA", kid: "ed-1" },
    eddsa,
  );
  assert.equal((await verifier.verify(token)).subject, "account-1");
});

test("client credentials speak for their own client only", async () => {
  const { verifier } = setUp();
  const { level, org, role, sid, auth_time, amr, ...claims } = goodClaims();
  const own = await verifier.verify(mint({ ...claims, kind: "application", sub: "client-1" }));
  assert.equal(own.level, 0);
  assert.equal(own.application, "application-1");
  assert.equal(
    await refusal(verifier, mint({ ...claims, kind: "application", sub: "account-1" })),
    "TOKEN_INVALID sub",
  );
});

test("a token seen before is verified synchronously, to the same object", async () => {
  const { verifier } = setUp();
  const token = mint();
  const first = verifier.verify(token);
  assert.ok(first instanceof Promise);
  const verified = await first;
  assert.equal(verifier.verify(token), verified);
});

test("the cache is bounded: the oldest token makes room", async () => {
  const { verifier } = setUp(2);
  const tokens = ["a", "b", "c"].map((jti) => mint({ ...goodClaims(), jti }));
  for (const token of tokens) await verifier.verify(token);
  const synchronous = tokens.map((token) => !(verifier.verify(token) instanceof Promise));
  assert.deepEqual(synchronous, [false, true, true]);
});

test("headers: alg none, foreign algorithms and key confusion are refused", async () => {
  const { verifier } = setUp();
  const hmacUnder =
    (key: KeyObject): SignInput =>
    (input) =>
      createHmac("sha256", key.export({ format: "pem", type: "spki" }))
        .update(input)
        .digest();
  const rs256: SignInput = (input) => createSign("sha256").update(input).sign(rsa.privateKey);
  const cases: readonly (readonly [string, string])[] = [
    [`${encode({ ...GOOD_HEADER, alg: "none" })}.${encode(goodClaims())}.`, "TOKEN_INVALID form"],
    [mint(goodClaims(), { ...GOOD_HEADER, alg: "none" }), "TOKEN_INVALID alg"],
    [mint(goodClaims(), { ...GOOD_HEADER, alg: "None" }), "TOKEN_INVALID alg"],
    [mint(goodClaims(), { ...GOOD_HEADER, alg: "HS256" }, hmacUnder(ec.publicKey)), "TOKEN_INVALID alg"],
    [mint(goodClaims(), { ...GOOD_HEADER, alg: "HS256", kid: "rsa-1" }, hmacUnder(rsa.publicKey)), "TOKEN_INVALID alg"],
    [mint(goodClaims(), { ...GOOD_HEADER, alg: "RS256", kid: "rsa-1" }, rs256), "TOKEN_INVALID alg"],
    [mint(goodClaims(), { ...GOOD_HEADER, alg: "EdDSA" }), "TOKEN_INVALID alg"],
    [mint(goodClaims(), { ...GOOD_HEADER, kid: "ed-1" }), "TOKEN_INVALID alg"],
    [mint(goodClaims(), { ...GOOD_HEADER, kid: "rsa-1" }), "TOKEN_INVALID kid"],
  ];
  for (const [token, expected] of cases) assert.equal(await refusal(verifier, token), expected);
});

test("headers: jku, jwk, x5u, x5c, crit, b64, zip and unknown members are refused though the signature is good", async () => {
  const { verifier } = setUp();
  const members: Readonly<Record<string, unknown>> = {
    jku: "https://evil.example/jwks",
    jwk: ec.publicKey.export({ format: "jwk" }),
    x5u: "https://evil.example/cert",
    x5c: ["MIIB"],
    crit: ["exp"],
    b64: false,
    zip: "DEF",
  };
  for (const [member, value] of Object.entries(members)) {
    assert.equal(
      await refusal(verifier, mint(goodClaims(), { ...GOOD_HEADER, [member]: value })),
      `TOKEN_INVALID ${member}`,
    );
  }
  assert.equal(await refusal(verifier, mint(goodClaims(), { ...GOOD_HEADER, secret: 1 })), "TOKEN_INVALID header");
});

test("headers: a key id is a plain name, never a path, a query or an inherited property", async () => {
  const { verifier } = setUp();
  const kids = [
    "../../dev/null",
    "' OR 1=1 --",
    "ec-1\u0000",
    "https://evil.example",
    "",
    "a".repeat(129),
    7,
    null,
    ["ec-1"],
  ];
  for (const kid of [...kids, undefined, "__proto__", "constructor", "unknown"]) {
    assert.equal(await refusal(verifier, mint(goodClaims(), { ...GOOD_HEADER, kid })), "TOKEN_INVALID kid");
  }
});

test("headers: only access tokens, no id tokens or other JWTs", async () => {
  const { verifier } = setUp();
  for (const typ of ["JWT", "id_token+jwt", "at+jwt2", undefined, 1]) {
    assert.equal(await refusal(verifier, mint(goodClaims(), { ...GOOD_HEADER, typ })), "TOKEN_INVALID typ");
  }
  assert.equal(await refusal(verifier, mint(goodClaims(), { ...GOOD_HEADER, typ: "application/at+jwt" })), "accepted");
});

test("claims: each wrong or missing one is refused by its name", async () => {
  const { verifier } = setUp();
  const now = START_MS / 1000;
  const wrong: readonly (readonly [string, Record<string, unknown>])[] = [
    ["iss", { iss: "https://other.example.cn" }],
    ["iss", { iss: `${ISSUER}/` }],
    ["iss", { iss: undefined }],
    ["aud", { aud: "urn:fujie:other" }],
    ["aud", { aud: [] }],
    ["aud", { aud: undefined }],
    ["sub", { sub: "" }],
    ["sub", { sub: undefined }],
    ["client_id", { client_id: undefined }],
    ["kind", { kind: undefined }],
    ["kind", { kind: "service" }],
    ["level", { level: undefined }],
    ["level", { level: 4 }],
    ["level", { level: "3" }],
    ["level", { kind: "operator" }],
    ["scope", { scope: ["trust.verify"] }],
    ["org", { org: undefined }],
    ["role", { role: undefined }],
    ["role", { role: "OWNER" }],
    ["sid", { sid: 7 }],
    ["amr", { amr: "pwd" }],
    ["amr", { amr: [1] }],
    ["app", { app: "" }],
    ["iat", { iat: undefined }],
    ["iat", { iat: now + 6, exp: now + 100 }],
    ["iat", { iat: now + 0.5 }],
    ["exp", { exp: undefined }],
    ["exp", { exp: String(now + 300) }],
    ["nbf", { nbf: now + 6 }],
    ["lifetime", { exp: now + 301 }],
    ["lifetime", { iat: now - 600, exp: now + 1 }],
    ["lifetime", { exp: now }],
  ];
  for (const [check, change] of wrong) {
    assert.equal(
      await refusal(verifier, mint({ ...goodClaims(), ...change })),
      `TOKEN_INVALID ${check}`,
      JSON.stringify(change),
    );
  }
});

test("claims: a payload that is no object is refused", async () => {
  const { verifier } = setUp();
  for (const payload of [[], "text", 1, null]) {
    assert.equal(await refusal(verifier, mint(payload)), "TOKEN_INVALID payload");
  }
});

test("clocks may differ by five seconds and no more, at either end", async () => {
  const { verifier, clock } = setUp();
  const ahead = mint({ ...goodClaims(), iat: START_MS / 1000 + 5, exp: START_MS / 1000 + 300 });
  assert.equal(await refusal(verifier, ahead), "accepted");
  const token = mint();
  clock.advance(304_999);
  assert.equal(await refusal(verifier, token), "accepted");
  clock.advance(1);
  assert.equal(await refusal(verifier, token), "TOKEN_EXPIRED");
});

test("an expired token is refused on a cache hit, and when it is new", async () => {
  const { verifier, clock } = setUp();
  const token = mint();
  await verifier.verify(token);
  clock.advance(305_000);
  assert.throws(() => verifier.verify(token), { reason: "TOKEN_EXPIRED" });
  assert.equal(await refusal(verifier, mint({ ...goodClaims(), jti: "never seen" })), "TOKEN_EXPIRED");
});

for (const [kind, id] of [
  ["session", "session-1"],
  ["subject", "account-1"],
  ["client", "client-1"],
  ["application", "application-1"],
] as const) {
  test(`a revoked ${kind} is refused on a cache hit and when the token is new`, async () => {
    const { verifier, revocations, clock } = setUp();
    const cached = mint();
    await verifier.verify(cached);
    clock.advance(1_000);
    revocations.revoke({ kind, id, atMs: clock.nowMs() });
    assert.throws(() => verifier.verify(cached), { reason: "TOKEN_REVOKED" });
    assert.equal(await refusal(verifier, mint({ ...goodClaims(), jti: "new" })), "TOKEN_REVOKED");
  });
}

test("a changed byte anywhere in a token makes it invalid", async () => {
  const { verifier } = setUp();
  const token = mint();
  // The last character of a base64url part carries bits that no decoder reads: it is left out.
  const readable = [...token].flatMap((character, at) =>
    character === "." || token[at + 1] === "." || at === token.length - 1 ? [] : [at],
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...readable), fc.constantFrom("A", "B", "_"), async (at, replacement) => {
      fc.pre(token[at] !== replacement);
      const changed = token.slice(0, at) + replacement + token.slice(at + 1);
      assert.match(await refusal(verifier, changed), /^TOKEN_INVALID/);
    }),
    { numRuns: 60 },
  );
});

test("whatever comes in as a token is refused with a typed error", async () => {
  const { verifier } = setUp();
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 200 }), async (text) => {
      assert.match(await refusal(verifier, text), /^TOKEN_INVALID/);
    }),
    { numRuns: 100 },
  );
  assert.equal(await refusal(verifier, "a".repeat(8_193)), "TOKEN_INVALID size");
});

test("no part of a token is in the error that refuses it", async () => {
  const { verifier } = setUp();
  const token = mint({ ...goodClaims(), iss: "CANARY-4711" }, { ...GOOD_HEADER });
  const error = await Promise.resolve(verifier.verify(token)).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof DomainError && error.cause instanceof Error);
  assert.doesNotMatch(`${error.stack} ${error.cause.stack} ${JSON.stringify(error)}`, /CANARY|eyJ/);
});
