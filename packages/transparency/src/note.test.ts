import assert from "node:assert/strict";
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { sm2 } from "sm-crypto-v2";
import vectors from "../vectors/notes.json" with { type: "json" };
import { FormatError } from "./errors.ts";
import {
  addSignatures,
  createCosigner,
  createSigner,
  createVerifier,
  formatNote,
  formatVerifierKey,
  type NoteKey,
  openNote,
  parseNote,
  parseVerifierKey,
  type SignBytes,
  signNote,
} from "./note.ts";

const { verifierKey, seed, text, signatureLine } = vectors.ed25519;
const peter = parseVerifierKey(verifierKey);
const published = `${text}\n${signatureLine}`;

const signWith = (key: KeyObject): SignBytes => {
  return (bytes) => new Uint8Array(sign(null, bytes, key));
};

function makeEd25519(): { publicKey: Uint8Array; signBytes: SignBytes } {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return { publicKey: new Uint8Array(Buffer.from(x, "base64url")), signBytes: signWith(privateKey) };
}

function makeSm2(): { publicKey: Uint8Array; signBytes: SignBytes } {
  const { publicKey, privateKey } = sm2.generateKeyPairHex();
  return {
    publicKey: new Uint8Array(Buffer.from(publicKey, "hex")),
    signBytes: async (bytes) =>
      new Uint8Array(Buffer.from(sm2.doSignature(bytes, privateKey, { hash: true, der: true }), "hex")),
  };
}

test("sumdb/note the published note opens with the published key", () => {
  const opened = openNote(published, [peter]);
  assert.ok(opened.ok);
  assert.equal(opened.text, text);
  assert.deepEqual(opened.verified, [{ verifier: peter }]);
  assert.ok(openNote(Buffer.from(published), [peter]).ok);
});

test("sumdb/note signing with the published private key reproduces the published note", async () => {
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(seed, "hex")]);
  const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  const signer = createSigner({ name: peter.name, algorithm: "ed25519", publicKey: peter.publicKey }, signWith(key));
  assert.equal(await signNote(text, [signer]), published);
});

test("verifier keys read and write as published, for a log and for a witness", () => {
  assert.equal(peter.keyId, 0xc74f20a3);
  assert.equal(formatVerifierKey(peter), verifierKey);
  const witness = parseVerifierKey(vectors.cosigner.verifierKey);
  assert.equal(witness.algorithm, "cosignature/v1");
  assert.equal(formatVerifierKey(witness), vectors.cosigner.verifierKey);
});

test("sumdb/note no part and no mangling of a verifier key is accepted", () => {
  for (let begin = 0; begin <= verifierKey.length; begin++)
    for (let end = begin + 1; end <= verifierKey.length; end++)
      if (begin > 0 || end < verifierKey.length)
        assert.throws(() => parseVerifierKey(verifierKey.slice(begin, end)), FormatError);
  for (let at = 0; at < verifierKey.length; at++) {
    const next = String.fromCharCode(verifierKey.charCodeAt(at) + 1);
    assert.throws(() => parseVerifierKey(verifierKey.slice(0, at) + next + verifierKey.slice(at + 1)), FormatError);
  }
  const refused = [
    "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
    "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    `${verifierKey}\n`,
    verifierKey.replace("c74f20a3", "C74F20A3"),
  ];
  for (const bad of refused) assert.throws(() => parseVerifierKey(bad), FormatError);
});

test("a note with any character changed, dropped or appended does not open", () => {
  for (let at = 0; at < published.length; at++) {
    const changed =
      published.slice(0, at) + String.fromCharCode(published.charCodeAt(at) ^ 1) + published.slice(at + 1);
    assert.equal(openNote(changed, [peter]).ok, false, `changed at ${at}`);
    assert.equal(openNote(published.slice(0, at) + published.slice(at + 1), [peter]).ok, false, `dropped at ${at}`);
  }
  const garbage = ["\n", " ", "x", "\n\n", "\0", "x\n", "\u2014 \n", "\u2014 name\n", "\u2014 name AAAA\n"];
  for (const trailing of garbage) assert.deepEqual(openNote(published + trailing, [peter]).ok, false);
});

test("malformed notes are refused by their form", () => {
  const refused = [
    "",
    "\n\n",
    text,
    `${text}\n`,
    text + signatureLine,
    `\n${published.slice(1)}\r`,
    published.replace("your", "yo\tur"),
    published.replace("\u2014", "-"),
    published.replace("\u2014 ", "\u2014\u00a0"),
    published.replace("PeterNeumann ", "Peter+Neumann "),
    published.replace("PeterNeumann ", "PeterNeumann  "),
    published.replace("JnAM=", "JnAM"),
    published.replace("JnAM=", "JnAN="),
    published.replace("JnAM=", "JnA-="),
    published.replace("your", "\ud800"),
    published + signatureLine.repeat(64),
    `${"x".repeat(1_048_576)}${published}`,
  ];
  for (const bad of refused) {
    assert.throws(() => parseNote(bad), FormatError);
    assert.deepEqual(openNote(bad, [peter]), { ok: false, reason: "NOTE_MALFORMED" });
  }
  const invalidUtf8 = Buffer.concat([Buffer.from([0xff]), Buffer.from(published)]);
  assert.deepEqual(openNote(invalidUtf8, [peter]), { ok: false, reason: "NOTE_MALFORMED" });
});

test("no bytes make parsing throw anything but its own error", () => {
  const pieces = fc.constantFrom("\n", "\n\n", "\u2014 ", "PeterNeumann", " ", "x08go/ZJ", "AAAA", text, signatureLine);
  const notes = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(pieces).map((all) => all.join("")),
  );
  fc.assert(
    fc.property(notes, (note) => {
      const opened = openNote(note, [peter]);
      if (opened.ok) assert.ok(note.startsWith(`${text}\n`) && note.includes(signatureLine));
    }),
    { numRuns: 300 },
  );
});

test("unknown signatures are ignored, a bad one by a known key refuses the note, a repeated one counts once", async () => {
  const other = makeEd25519();
  const otherKey: NoteKey = { name: "other.example", algorithm: "ed25519", publicKey: other.publicKey };
  const signer = createSigner({ ...otherKey, algorithm: "ed25519" }, other.signBytes);
  const both = formatNote(await addSignatures(parseNote(published), [signer]));

  const one = openNote(both, [peter]);
  assert.ok(one.ok && one.verified.length === 1);
  const two = openNote(both, [createVerifier(otherKey), peter]);
  assert.ok(two.ok && two.verified.length === 2);
  assert.deepEqual(openNote(both, [createVerifier({ ...otherKey, name: "x" })]), {
    ok: false,
    reason: "SIGNED_BY_NO_KNOWN_KEY",
  });
  const [good, second] = parseNote(both).signatures;
  assert.ok(good && second);
  const forged = { ...second, signature: good.signature };
  const bad = formatNote({ text, signatures: [good, forged] });
  assert.deepEqual(openNote(bad, [peter, createVerifier(otherKey)]), { ok: false, reason: "SIGNATURE_INVALID" });
  assert.ok(openNote(bad, [peter]).ok);
  const repeated = openNote(published + signatureLine, [peter]);
  assert.ok(repeated.ok && repeated.verified.length === 1);
  assert.deepEqual(openNote(published, [peter, peter]), { ok: false, reason: "VERIFIERS_AMBIGUOUS" });
  assert.deepEqual(openNote(published, []), { ok: false, reason: "SIGNED_BY_NO_KNOWN_KEY" });
});

test("tlog-cosignature a cosignature signs the header, the time and the text, and gives its time back", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = new Uint8Array(Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url"));
  const name = "witness.example/w1";
  const note = await signNote("log.example\n0\nroot\n", [
    createCosigner({ name, publicKey: raw }, signWith(privateKey), () => 1_679_315_147),
  ]);
  // The line built by hand, from the specification's own description.
  const id = createHash("sha256").update(`${name}\n\x04`).update(raw).digest().subarray(0, 4);
  const time = Buffer.from("00000000641850cb", "hex");
  const signed = Buffer.from("cosignature/v1\ntime 1679315147\nlog.example\n0\nroot\n");
  const line = Buffer.concat([id, time, sign(null, signed, privateKey)]).toString("base64");
  assert.equal(note, `log.example\n0\nroot\n\n\u2014 ${name} ${line}\n`);

  const verifier = createVerifier({ name, algorithm: "cosignature/v1", publicKey: raw });
  const opened = openNote(note, [verifier]);
  assert.ok(opened.ok);
  assert.deepEqual(opened.verified, [{ verifier, timestampS: 1_679_315_147 }]);

  const later = Buffer.concat([id, Buffer.from("00000000641850cc", "hex"), sign(null, signed, privateKey)]);
  const postdated = note.replace(line, later.toString("base64"));
  assert.deepEqual(openNote(postdated, [verifier]), { ok: false, reason: "SIGNATURE_INVALID" });
  const asLogKey = createVerifier({ name, algorithm: "ed25519", publicKey: raw });
  assert.deepEqual(openNote(note, [asLogKey]), { ok: false, reason: "SIGNED_BY_NO_KNOWN_KEY" });
});

test("an SM2 signature rides beside the Ed25519 one, and its key has a text form", async () => {
  const ed = makeEd25519();
  const gm = makeSm2();
  const edKey = { name: "log.example", algorithm: "ed25519", publicKey: ed.publicKey } as const;
  const gmKey = { name: "log.example", algorithm: "sm2", publicKey: gm.publicKey } as const;
  const note = await signNote(text, [createSigner(edKey, ed.signBytes), createSigner(gmKey, gm.signBytes)]);

  const gmVerifier = parseVerifierKey(formatVerifierKey(gmKey));
  assert.equal(gmVerifier.algorithm, "sm2");
  const opened = openNote(note, [createVerifier(edKey), gmVerifier]);
  assert.ok(opened.ok && opened.verified.length === 2);

  const prefix = Buffer.from("\xfffujie/note/sm2-with-sm3/v1", "latin1");
  const id = createHash("sha256").update("log.example\n").update(prefix).update(gm.publicKey).digest();
  assert.equal(gmVerifier.keyId, id.readUInt32BE(0));

  const parsed = parseNote(note);
  const trailing = parsed.signatures.map((each) =>
    each.keyId === gmVerifier.keyId ? { ...each, signature: Buffer.concat([each.signature, Buffer.alloc(1)]) } : each,
  );
  const tampered = formatNote({ text, signatures: trailing });
  assert.deepEqual(openNote(tampered, [gmVerifier]), { ok: false, reason: "SIGNATURE_INVALID" });
  assert.deepEqual(openNote(note.replace("your", "mine"), [gmVerifier]), { ok: false, reason: "SIGNATURE_INVALID" });
});

test("a signer that gives something else, a bad name, text or clock is a typed error", async () => {
  const { publicKey, signBytes } = makeEd25519();
  const key = { name: "log.example", algorithm: "ed25519", publicKey } as const;
  const broken = createSigner(key, () => new Uint8Array(63));
  await assert.rejects(signNote(text, [broken]), FormatError);
  const signer = createSigner(key, signBytes);
  for (const bad of ["", "no newline", "tab\t\n", "\ud800\n"])
    await assert.rejects(signNote(bad, [signer]), FormatError);
  await assert.rejects(signNote(text, []), FormatError);
  for (const name of ["", "a b", "a+b", "a\u2003b", "a\nb", "\udc00"])
    assert.throws(() => createVerifier({ ...key, name }), FormatError);
  assert.throws(() => createVerifier({ ...key, publicKey: publicKey.subarray(1) }), FormatError);
  for (const nowS of [-1, 1.5, Number.NaN])
    await assert.rejects(signNote(text, [createCosigner(key, signBytes, () => nowS)]), FormatError);
});
