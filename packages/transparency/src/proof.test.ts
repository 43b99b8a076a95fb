import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { sm2 } from "sm-crypto-v2";
import { formatCheckpoint } from "./checkpoint.ts";
import { FormatError } from "./errors.ts";
import { append, emptyFrontier, leafHash, proveInclusion, readNodesOf, root } from "./merkle.ts";
import { createCosigner, createSigner, createVerifier, type Signer, signNote, type Verifier } from "./note.ts";
import { formatProofBundle, parseProofBundle, verifyProofBundle } from "./proof.ts";

const origin = "log.fujie.example/audit";
const leaves = Array.from({ length: 11 }, (_, at) => leafHash(Buffer.from(`event ${at}`)));
const index = 6;
const leaf = leaves[index] ?? new Uint8Array();
const treeRoot = root(append(emptyFrontier(), leaves));
const path = proveInclusion(index, leaves.length, readNodesOf(leaves));
const text = formatCheckpoint({ origin, size: leaves.length, root: treeRoot, extensions: [] });

function makeEd25519(name: string): { log: Verifier; logSigner: Signer; witness: Verifier; cosigner: Signer } {
  const pair = generateKeyPairSync("ed25519");
  const publicKey = new Uint8Array(Buffer.from(pair.publicKey.export({ format: "jwk" }).x ?? "", "base64url"));
  const signBytes = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, pair.privateKey));
  return {
    log: createVerifier({ name, algorithm: "ed25519", publicKey }),
    logSigner: createSigner({ name, algorithm: "ed25519", publicKey }, signBytes),
    witness: createVerifier({ name, algorithm: "cosignature/v1", publicKey }),
    cosigner: createCosigner({ name, publicKey }, signBytes, () => 1_700_000_000),
  };
}

const gmPair = sm2.generateKeyPairHex();
const gmKey = {
  name: origin,
  algorithm: "sm2",
  publicKey: new Uint8Array(Buffer.from(gmPair.publicKey, "hex")),
} as const;
const gmSigner = createSigner(gmKey, (bytes) => {
  return new Uint8Array(Buffer.from(sm2.doSignature(bytes, gmPair.privateKey, { hash: true, der: true }), "hex"));
});
const gm = createVerifier(gmKey);
const log = makeEd25519(origin);
const [w1, w2] = [makeEd25519("w1.example"), makeEd25519("w2.example")];

const checkpoint = await signNote(text, [log.logSigner, gmSigner, w1.cosigner, w2.cosigner]);
const bundle = formatProofBundle({ index, path, checkpoint, extra: Buffer.from("anything") });
const verifiers = { log: [log.log, gm], witnesses: [w1.witness, w2.witness] };
const policy = { origin, witnessesMin: 2, logAlgorithms: ["ed25519", "sm2"] } as const;
const refusal = (reason: string) => ({ ok: false, reason });

test("tlog-proof a bundle verifies offline with the log's and witnesses' keys", () => {
  const verified = verifyProofBundle(bundle, leaf, verifiers, policy);
  assert.ok(verified.ok);
  assert.equal(verified.index, index);
  assert.equal(verified.checkpoint.size, leaves.length);
  assert.deepEqual(verified.cosignatures, [
    { name: "w1.example", timestampS: 1_700_000_000 },
    { name: "w2.example", timestampS: 1_700_000_000 },
  ]);
  assert.deepEqual(verifyProofBundle(parseProofBundle(bundle), leaf, verifiers, policy), verified);
});

test("tlog-proof the text has the specified lines and round-trips", () => {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  const lines = ["c2sp.org/tlog-proof@v1", "extra YW55dGhpbmc=", "index 6", ...path.map(base64), "", checkpoint];
  assert.equal(bundle, lines.join("\n"));
  assert.equal(formatProofBundle(parseProofBundle(bundle)), bundle);
  const bare = formatProofBundle({ index: 0, path: [], checkpoint });
  assert.equal(bare, `c2sp.org/tlog-proof@v1\nindex 0\n\n${checkpoint}`);
  assert.deepEqual(parseProofBundle(bare), { index: 0, path: [], checkpoint });
});

test("tlog-proof another leaf, index, path or checkpoint is refused", async () => {
  const parsed = parseProofBundle(bundle);
  const other = leaves[index + 1] ?? leaf;
  assert.deepEqual(verifyProofBundle(parsed, other, verifiers, policy), refusal("ROOT_MISMATCH"));
  const check = (changed: object) => verifyProofBundle({ ...parsed, ...changed }, leaf, verifiers, policy);
  assert.deepEqual(check({ index: index + 1 }), refusal("ROOT_MISMATCH"));
  assert.deepEqual(check({ index: leaves.length }), refusal("INDEX_OUT_OF_RANGE"));
  assert.deepEqual(check({ path: path.slice(1) }), refusal("PATH_TOO_SHORT"));
  assert.deepEqual(check({ path: [...path, leaf] }), refusal("PATH_TOO_LONG"));
  assert.deepEqual(check({ checkpoint: checkpoint.replace("\n11\n", "\n12\n") }), refusal("SIGNATURE_INVALID"));

  const elsewhere = formatCheckpoint({ origin: "log.other", size: 11, root: treeRoot, extensions: [] });
  const signed = await signNote(elsewhere, [log.logSigner, gmSigner, w1.cosigner, w2.cosigner]);
  assert.deepEqual(check({ checkpoint: signed }), refusal("ORIGIN_NOT_ACCEPTED"));
  const notCheckpoint = await signNote("a note\n", [log.logSigner, gmSigner, w1.cosigner, w2.cosigner]);
  assert.deepEqual(check({ checkpoint: notCheckpoint }), refusal("BUNDLE_MALFORMED"));
});

test("tlog-proof a missing log, SM2 or witness signature is never made up for by others", async () => {
  const check = async (signers: Signer[], asked: object = {}) => {
    const note = await signNote(text, signers);
    return verifyProofBundle({ index, path, checkpoint: note }, leaf, verifiers, { ...policy, ...asked });
  };
  const { logSigner } = log;
  assert.deepEqual(await check([gmSigner, w1.cosigner, w2.cosigner]), refusal("LOG_SIGNATURE_MISSING"));
  assert.deepEqual(await check([logSigner, w1.cosigner, w2.cosigner]), refusal("LOG_SIGNATURE_MISSING"));
  const any = { logAlgorithms: undefined };
  assert.deepEqual(await check([w1.cosigner, w2.cosigner], any), refusal("LOG_SIGNATURE_MISSING"));
  assert.deepEqual(await check([w1.cosigner, w2.cosigner], { logAlgorithms: [] }), refusal("LOG_SIGNATURE_MISSING"));
  assert.deepEqual(await check([logSigner, gmSigner, w1.cosigner]), refusal("WITNESSES_MISSING"));
  assert.deepEqual(await check([logSigner, gmSigner, w1.cosigner, w1.cosigner]), refusal("WITNESSES_MISSING"));
  assert.deepEqual(await check([w1.logSigner]), refusal("SIGNED_BY_NO_KNOWN_KEY"));
  assert.ok((await check([logSigner], { witnessesMin: 0, logAlgorithms: undefined })).ok);
});

test("tlog-proof one witness key under two names counts once", async () => {
  const alias = makeAlias();
  const note = await signNote(text, [log.logSigner, alias.one.cosigner, alias.two.cosigner]);
  const known = { log: [log.log], witnesses: [alias.one.witness, alias.two.witness] };
  const asked = { origin, witnessesMin: 2 };
  const checked = verifyProofBundle({ index, path, checkpoint: note }, leaf, known, asked);
  assert.deepEqual(checked, refusal("WITNESSES_MISSING"));
  assert.ok(verifyProofBundle({ index, path, checkpoint: note }, leaf, known, { origin, witnessesMin: 1 }).ok);
});

function makeAlias() {
  const pair = generateKeyPairSync("ed25519");
  const publicKey = new Uint8Array(Buffer.from(pair.publicKey.export({ format: "jwk" }).x ?? "", "base64url"));
  const signBytes = (bytes: Uint8Array) => new Uint8Array(sign(null, bytes, pair.privateKey));
  const under = (name: string) => ({
    witness: createVerifier({ name, algorithm: "cosignature/v1", publicKey }),
    cosigner: createCosigner({ name, publicKey }, signBytes, () => 1_700_000_000),
  });
  return { one: under("a.example"), two: under("b.example") };
}

test("tlog-proof a policy that can't be met, or that lets the log witness itself, is refused", () => {
  const check = (known: typeof verifiers, witnessesMin = 1) =>
    verifyProofBundle(bundle, leaf, known, { ...policy, witnessesMin });
  const unsound = refusal("POLICY_INVALID");
  assert.deepEqual(check(verifiers, 3), unsound);
  assert.deepEqual(check(verifiers, -1), unsound);
  assert.deepEqual(check(verifiers, Number.NaN), unsound);
  assert.deepEqual(check({ ...verifiers, log: [] }), unsound);
  assert.deepEqual(check({ log: [w1.witness], witnesses: [w2.witness] }), unsound);
  assert.deepEqual(check({ log: [log.log], witnesses: [w1.log] }), unsound);
  assert.deepEqual(check({ log: [log.log], witnesses: [log.witness] }), unsound);
});

test("tlog-proof malformed bundles are refused", () => {
  const refused = [
    "",
    bundle.replace("@v1", "@v2"),
    ` ${bundle}`,
    bundle.replace("index 6", "index 06"),
    bundle.replace("index 6", "index -6"),
    bundle.replace("index 6\n", ""),
    bundle.replace("extra YW55", "extra YW5"),
    bundle.replace("extra ", "Extra "),
    bundle.replace("index 6\n", "index 6\nindex 6\n"),
    bundle.replace("index 6\n", "index 6\nAAAA\n"),
    bundle.replace("index 6\n", `index 6\n${`${Buffer.alloc(32).toString("base64")}\n`.repeat(64)}`),
    bundle.replaceAll("\n", "\r\n"),
    bundle.slice(0, -1),
    `${bundle}\n`,
    `${bundle}trailing`,
    `${bundle}${" ".repeat(2 ** 21)}`,
  ];
  for (const bad of refused) {
    assert.throws(() => parseProofBundle(bad), FormatError, JSON.stringify(bad.slice(0, 200)));
    assert.deepEqual(verifyProofBundle(bad, leaf, verifiers, policy), refusal("BUNDLE_MALFORMED"));
  }
  assert.throws(() => formatProofBundle({ index: -1, path, checkpoint }), FormatError);
  assert.throws(() => formatProofBundle({ index, path: [new Uint8Array(31)], checkpoint }), FormatError);
  assert.throws(() => formatProofBundle({ index, path, checkpoint: text }), FormatError);
});

test("tlog-proof a bundle with any character changed does not verify, unless it is the unsigned extra", () => {
  const lines = { from: bundle.indexOf("extra"), to: bundle.indexOf("\nindex") };
  fc.assert(
    fc.property(fc.nat(bundle.length - 1), fc.integer({ min: 1, max: 127 }), (at, flip) => {
      fc.pre(at < lines.from || at > lines.to);
      const changed = bundle.slice(0, at) + String.fromCharCode(bundle.charCodeAt(at) ^ flip) + bundle.slice(at + 1);
      assert.equal(verifyProofBundle(changed, leaf, verifiers, policy).ok, false);
    }),
    { numRuns: 150 },
  );
});
