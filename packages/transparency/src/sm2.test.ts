import assert from "node:assert/strict";
import { test } from "node:test";
import { sm2 } from "sm-crypto-v2";
import vectors from "../vectors/notes.json" with { type: "json" };
import { FormatError } from "./errors.ts";
import { createSm2Verifier, encodeSm2Signature, isCanonicalSignature } from "./sm2.ts";

const fromHex = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
const publicKey = fromHex(vectors.sm2.publicKey);
const message = new Uint8Array(Buffer.from(vectors.sm2.message));
const signature = encodeSm2Signature(fromHex(vectors.sm2.signature));

test("GB/T 32918.5 the published SM2 signature verifies, and with another message, signer id or key does not", () => {
  const verify = createSm2Verifier(publicKey);
  assert.equal(verify(message, signature), true);
  assert.equal(verify(new Uint8Array(Buffer.from("message digesu")), signature), false);
  assert.equal(createSm2Verifier(publicKey, "")(message, signature), false);
  const other = fromHex(sm2.generateKeyPairHex().publicKey);
  assert.equal(createSm2Verifier(other)(message, signature), false);
});

test("an SM2 signature with trailing, missing or padded DER bytes is refused", () => {
  const verify = createSm2Verifier(publicKey);
  const bytes = [...signature];
  const padded = [0x30, (bytes[1] ?? 0) + 1, 0x02, (bytes[3] ?? 0) + 1, 0, ...bytes.slice(4)];
  const longForm = [0x30, 0x81, ...bytes.slice(1)];
  const refused = [[...bytes, 0], bytes.slice(0, -1), padded, longForm, [], [0x30], [0x30, 0]];
  for (const bad of refused) assert.equal(verify(message, Uint8Array.from(bad)), false);
});

test("r and s outside 1 … n − 1 are refused", () => {
  const order = "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123";
  const one = "1".padStart(64, "0");
  assert.equal(isCanonicalSignature(encodeSm2Signature(fromHex(one + one))), true);
  for (const raw of [one + order, order + one, one + "0".repeat(64), "0".repeat(64) + one])
    assert.equal(isCanonicalSignature(encodeSm2Signature(fromHex(raw))), false);
});

test("an SM2 key off the curve, compressed or short is refused", () => {
  const off = publicKey.slice();
  off[64] = (off[64] ?? 0) ^ 1;
  const compressed = fromHex(sm2.compressPublicKeyHex(vectors.sm2.publicKey));
  for (const bad of [off, compressed, publicKey.subarray(1), new Uint8Array(65)])
    assert.throws(() => createSm2Verifier(bad), FormatError);
  assert.throws(() => encodeSm2Signature(new Uint8Array(63)), FormatError);
});
