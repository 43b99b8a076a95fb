/** Private keys from PEM (PKCS#8), and signing with them: ECDSA by Node, SM2 by sm-crypto-v2 with the default id. */
import { createPrivateKey, type KeyObject, sign } from "node:crypto";
import { SM2_DEFAULT_ID } from "@fujie/certificates";
import { contextConstructed, fieldsOf, readDer, readOid, TAG, toHex } from "@fujie/certificates/der";
import { sm2 } from "sm-crypto-v2";

export type PrivateKey =
  | { readonly kind: "ecdsa"; readonly key: KeyObject }
  | { readonly kind: "sm2"; readonly privateKeyHex: string; readonly publicKeyHex: string };

const OID_SM2_CURVE = "1.2.156.10197.1.301";

/** Reads an EC or SM2 private key. Throws for any other text. */
export function readPrivateKey(pem: string): PrivateKey {
  const base64 = /-----BEGIN PRIVATE KEY-----([^-]+)-----END PRIVATE KEY-----/.exec(pem)?.[1];
  if (base64 === undefined) throw new TypeError("not a PEM private key (PKCS#8)");
  const info = fieldsOf(readDer(Buffer.from(base64, "base64")));
  info.take(TAG.integer, "version");
  const algorithm = fieldsOf(info.take(TAG.sequence, "algorithm"));
  algorithm.take(TAG.oid, "key type");
  const curve = readOid(algorithm.take(TAG.oid, "curve"));
  if (curve !== OID_SM2_CURVE) return { kind: "ecdsa", key: createPrivateKey(pem) };

  const ec = fieldsOf(readDer(info.take(TAG.octetString, "privateKey").content));
  ec.take(TAG.integer, "version");
  const privateKeyHex = toHex(ec.take(TAG.octetString, "privateKey").content);
  ec.takeIf(contextConstructed(0));
  return { kind: "sm2", privateKeyHex, publicKeyHex: sm2.getPublicKeyFromPrivateKey(privateKeyHex) };
}

/** A DER signature: ECDSA with SHA-256, or SM2 with SM3. */
export function signBytes(key: PrivateKey, bytes: Uint8Array): Uint8Array {
  if (key.kind === "ecdsa") return sign("sha256", bytes, key.key);
  const { privateKeyHex, publicKeyHex } = key;
  const options = { der: true, hash: true, userId: SM2_DEFAULT_ID, publicKey: publicKeyHex };
  return Buffer.from(sm2.doSignature(bytes, privateKeyHex, options), "hex");
}

/** OIDs that go with a kind of key. */
export const ALGORITHM_OIDS = {
  ecdsa: { signature: "1.2.840.10045.4.3.2", digest: "2.16.840.1.101.3.4.2.1", hash: "sha256" },
  sm2: { signature: "1.2.156.10197.1.501", digest: "1.2.156.10197.1.401", hash: "sm3" },
} as const;
