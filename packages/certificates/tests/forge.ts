/** Makes certificates for tests, well-formed or wrong in exactly one way. OpenSSL's own are tested with the sandbox CA. */
import { generateKeyPairSync, type KeyPairKeyObjectResult, sign } from "node:crypto";
import { sm2 } from "sm-crypto-v2";
import { parseCertificate } from "../src/certificate.ts";
import {
  contextConstructed,
  contextPrimitive,
  der,
  derBits,
  derInteger,
  derNull,
  derOctets,
  derOid,
  derSequence,
  derSetOf,
  derTime,
  TAG,
} from "../src/der.ts";
import { certificateId, writeCertificateId } from "../src/ocsp.ts";
import { digest, SM2_DEFAULT_ID } from "../src/signature.ts";

export const AT = new Date("2030-06-01T12:00:00Z");
export const days = (count: number): Date => new Date(AT.getTime() + count * 86_400_000);

export type Kind = "ecdsa" | "sm2" | "rsa";
export type Key = {
  kind: Kind;
  spki: Uint8Array;
  bits: Uint8Array;
  /** AlgorithmIdentifier of its signatures. */
  algorithm: Uint8Array;
  sign: (bytes: Uint8Array) => Uint8Array;
};

export const SIGNATURE_OIDS = {
  ecdsa: "1.2.840.10045.4.3.2",
  rsa: "1.2.840.113549.1.1.11",
  sm2: "1.2.156.10197.1.501",
};

/** RSA keys are slow to make: a few are used in turn, so that any six in a row differ. */
const rsaPairs: KeyPairKeyObjectResult[] = [];
let rsaTurn = 0;

function nextRsaPair(): KeyPairKeyObjectResult {
  rsaTurn = (rsaTurn + 1) % 6;
  const pair = rsaPairs[rsaTurn] ?? generateKeyPairSync("rsa", { modulusLength: 2048 });
  rsaPairs[rsaTurn] = pair;
  return pair;
}

export function makeKey(kind: Kind, sm2Id = SM2_DEFAULT_ID): Key {
  if (kind === "sm2") {
    const { privateKey, publicKey } = sm2.generateKeyPairHex();
    const bits = Buffer.from(publicKey, "hex");
    const options = { der: true, hash: true, userId: sm2Id };
    return {
      kind,
      bits,
      spki: derSequence(derSequence(derOid("1.2.840.10045.2.1"), derOid("1.2.156.10197.1.301")), derBits(bits)),
      algorithm: derSequence(derOid(SIGNATURE_OIDS.sm2)),
      sign: (bytes) => Buffer.from(sm2.doSignature(bytes, privateKey, options), "hex"),
    };
  }
  const pair = kind === "rsa" ? nextRsaPair() : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = Uint8Array.from(pair.publicKey.export({ type: "spki", format: "der" }));
  return {
    kind,
    spki,
    bits: spki.subarray(kind === "rsa" ? 24 : 26),
    algorithm: derSequence(derOid(SIGNATURE_OIDS[kind]), ...(kind === "rsa" ? [derNull()] : [])),
    sign: (bytes) => sign("sha256", bytes, pair.privateKey),
  };
}

export const extension = (oid: string, value: Uint8Array, critical = false): Uint8Array =>
  derSequence(derOid(oid), ...(critical ? [der(TAG.boolean, Uint8Array.of(0xff))] : []), derOctets(value));

export const utf8 = (text: string): Uint8Array => der(TAG.utf8String, Buffer.from(text, "utf8"));

const keyId = (key: Key): Uint8Array => digest("sha1", key.bits);

/** Extensions by what they do. A bit string of key usage: digitalSignature 0x80, keyEncipherment 0x20 … */
export const subjectKeyId = (key: Key): Uint8Array => extension("2.5.29.14", derOctets(keyId(key)));
export const authorityKeyId = (key: Key): Uint8Array =>
  extension("2.5.29.35", derSequence(der(contextPrimitive(0), keyId(key))));
export const SIGNING = extension("2.5.29.15", der(TAG.bitString, Uint8Array.of(6, 0xc0)), true);
export const ENCRYPTING = extension("2.5.29.15", der(TAG.bitString, Uint8Array.of(4, 0x30)), true);
export const CERT_AND_CRL_SIGNING = extension("2.5.29.15", der(TAG.bitString, Uint8Array.of(1, 0x06)), true);
export const END_ENTITY = extension("2.5.29.19", derSequence(), true);
export const ca = (pathLength?: number): Uint8Array =>
  extension(
    "2.5.29.19",
    derSequence(
      der(TAG.boolean, Uint8Array.of(0xff)),
      ...(pathLength === undefined ? [] : [derInteger(BigInt(pathLength))]),
    ),
    true,
  );
export const extendedKeyUsage = (...oids: string[]): Uint8Array =>
  extension("2.5.29.37", derSequence(...oids.map(derOid)));

export function name(commonName: string, ...more: [oid: string, value: string][]): Uint8Array {
  const attributes: [string, string][] = [["2.5.4.3", commonName], ...more];
  return derSequence(...attributes.map(([oid, value]) => derSetOf(derSequence(derOid(oid), utf8(value)))));
}

export type Party = { der: Uint8Array; key: Key; name: Uint8Array };

let lastSerial = 1000n;

/** A certificate for `key`; self-signed without `issuer`. Everything can be overridden, to be wrong. */
export function forge(input: {
  key: Key;
  name: Uint8Array;
  issuer?: Pick<Party, "key" | "name">;
  extensions: Uint8Array[];
  serial?: bigint;
  notBefore?: Date;
  notAfter?: Date;
  outerAlgorithm?: Uint8Array;
  surplus?: Uint8Array;
}): Party {
  const issuer = input.issuer ?? input;
  lastSerial += 1n;
  const tbs = derSequence(
    der(contextConstructed(0), derInteger(2n)),
    derInteger(input.serial ?? lastSerial),
    issuer.key.algorithm,
    issuer.name,
    derSequence(derTime(input.notBefore ?? days(-10)), derTime(input.notAfter ?? days(300))),
    input.name,
    input.key.spki,
    der(contextConstructed(3), derSequence(...input.extensions)),
    ...(input.surplus === undefined ? [] : [input.surplus]),
  );
  const certificate = derSequence(tbs, input.outerAlgorithm ?? issuer.key.algorithm, derBits(issuer.key.sign(tbs)));
  return { der: certificate, key: input.key, name: input.name };
}

export function forgeRoot(kind: Kind, commonName = "Root"): Party {
  const key = makeKey(kind);
  return forge({ key, name: name(commonName), extensions: [ca(), CERT_AND_CRL_SIGNING, subjectKeyId(key)] });
}

export function forgeCa(issuer: Party, kind: Kind, commonName: string, constraints = ca(0)): Party {
  const key = makeKey(kind);
  const extensions = [constraints, CERT_AND_CRL_SIGNING, subjectKeyId(key), authorityKeyId(issuer.key)];
  return forge({ key, name: name(commonName), issuer, extensions });
}

export function forgeLeaf(
  issuer: Party,
  kind: Kind,
  changes: Partial<Parameters<typeof forge>[0]> & { extra?: Uint8Array[]; usage?: Uint8Array; key?: Key } = {},
): Party {
  const { extra = [], usage = SIGNING, key = makeKey(kind), ...rest } = changes;
  const extensions = [END_ENTITY, usage, subjectKeyId(key), authorityKeyId(issuer.key), ...extra];
  return forge({ key, name: name("张三"), issuer, extensions, ...rest });
}

/** A CRL by `issuer`. */
export function forgeCrl(
  issuer: Party,
  input: {
    number?: bigint;
    revoked?: { serial: bigint; reason?: number }[];
    thisUpdate?: Date;
    nextUpdate?: Date;
    extra?: Uint8Array[];
    key?: Key;
  } = {},
): Uint8Array {
  const key = input.key ?? issuer.key;
  const entries = (input.revoked ?? []).map(({ serial, reason }) =>
    derSequence(
      derInteger(serial),
      derTime(days(-2)),
      ...(reason === undefined
        ? []
        : [derSequence(extension("2.5.29.21", der(TAG.enumerated, Uint8Array.of(reason))))]),
    ),
  );
  const tbs = derSequence(
    derInteger(1n),
    key.algorithm,
    issuer.name,
    derTime(input.thisUpdate ?? days(-1)),
    derTime(input.nextUpdate ?? days(6)),
    ...(entries.length === 0 ? [] : [derSequence(...entries)]),
    der(
      contextConstructed(0),
      derSequence(extension("2.5.29.20", derInteger(input.number ?? 7n)), ...(input.extra ?? [])),
    ),
  );
  return derSequence(tbs, key.algorithm, derBits(key.sign(tbs)));
}

/** An OCSP response. `signer` signs and is named; `certificates` travel along. */
export function forgeOcsp(input: {
  certificate: Party;
  issuer: Party;
  signer: Party;
  status?: Uint8Array;
  nonce?: Uint8Array;
  certificates?: Party[];
  thisUpdate?: Date;
  nextUpdate?: Date;
  signingKey?: Key;
}): Uint8Array {
  const { certificate, issuer, signer, nonce } = input;
  const id = certificateId(parseCertificate(certificate.der), parseCertificate(issuer.der), "sha256");
  const nonceExtensions = nonce === undefined ? [] : [extension("1.3.6.1.5.5.7.48.1.2", derOctets(nonce))];
  const single = derSequence(
    writeCertificateId(id),
    input.status ?? der(contextPrimitive(0)),
    derTime(input.thisUpdate ?? AT),
    der(contextConstructed(0), derTime(input.nextUpdate ?? days(1))),
  );
  const tbs = derSequence(
    der(contextConstructed(1), signer.name),
    derTime(AT),
    derSequence(single),
    ...(nonceExtensions.length === 0 ? [] : [der(contextConstructed(1), derSequence(...nonceExtensions))]),
  );
  const key = input.signingKey ?? signer.key;
  const certificates = (input.certificates ?? []).map((party) => party.der);
  const basic = derSequence(
    tbs,
    key.algorithm,
    derBits(key.sign(tbs)),
    ...(certificates.length === 0 ? [] : [der(contextConstructed(0), derSequence(...certificates))]),
  );
  const body = derSequence(derOid("1.3.6.1.5.5.7.48.1.1"), derOctets(basic));
  return derSequence(der(TAG.enumerated, Uint8Array.of(0)), der(contextConstructed(0), body));
}

export const REVOKED_STATUS = der(
  contextConstructed(1),
  derTime(days(-2)),
  der(contextConstructed(0), der(TAG.enumerated, Uint8Array.of(1))),
);
export const UNKNOWN_STATUS = der(contextPrimitive(2));

/** A responder certified by `issuer` for this purpose. */
export function forgeResponder(
  issuer: Party,
  kind: Kind,
  extra = [extendedKeyUsage("1.3.6.1.5.5.7.3.9"), extension("1.3.6.1.5.5.7.48.1.5", derNull())],
): Party {
  return forgeLeaf(issuer, kind, { name: name("Responder"), extra });
}
