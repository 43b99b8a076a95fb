/**
 * X.509 certificates (RFC 5280), read strictly. What is parsed here is not yet trusted: `buildAndCheckPath` decides.
 */
import {
  children,
  contextConstructed,
  contextPrimitive,
  DerError,
  type Element,
  type Fields,
  fieldsOf,
  readBitBytes,
  readBoolean,
  readDer,
  readInteger,
  readNamedBits,
  readOid,
  readSmall,
  readString,
  readTime,
  sameBytes,
  TAG,
  toHex,
  unwrap,
} from "./der.ts";
import type { SignatureAlgorithm } from "./signature.ts";
import { digest, type PublicKey, readAlgorithmOid, readPublicKey, SIGNATURE_ALGORITHMS } from "./signature.ts";

/** Larger than any real certificate, small enough that reading one is cheap. */
const CERTIFICATE_BYTES_MAX = 32 * 1024;

export type CertificateParseReason =
  | "CERTIFICATE_MALFORMED"
  | "CERTIFICATE_ALGORITHM_MIXED"
  | "CERTIFICATE_ALGORITHM_UNSUPPORTED";

/** Why bytes are not a usable certificate. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
  readonly reason: CertificateParseReason;
  constructor(reason: CertificateParseReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** A distinguished name: `der` for comparison (never compare the text), `attributes` in order of appearance. */
export type Name = { readonly der: Uint8Array; readonly attributes: readonly NameAttribute[] };
export type NameAttribute = { readonly oid: string; readonly value: string };

export type Extension = { readonly oid: string; readonly critical: boolean; readonly value: Uint8Array };

export type KeyUsage =
  | "digitalSignature"
  | "nonRepudiation"
  | "keyEncipherment"
  | "dataEncipherment"
  | "keyAgreement"
  | "keyCertSign"
  | "cRLSign"
  | "encipherOnly"
  | "decipherOnly";

const KEY_USAGE_BITS: readonly KeyUsage[] = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
];

export type Certificate = {
  readonly der: Uint8Array;
  /** The signed bytes. */
  readonly tbs: Uint8Array;
  /** Lower-case hexadecimal, as `openssl x509 -serial` prints it but for the case. */
  readonly serial: string;
  readonly subject: Name;
  readonly issuer: Name;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKey: PublicKey;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  readonly extensions: ReadonlyMap<string, Extension>;
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly basicConstraints: { readonly ca: boolean; readonly pathLength: number | undefined };
  /** Key identifiers in hexadecimal. */
  readonly subjectKeyId: string | undefined;
  readonly authorityKeyId: string | undefined;
  /** Where the certificate says that its status is found. Untrusted until the path is checked; never fetched here. */
  readonly crlUrls: readonly string[];
  readonly ocspUrls: readonly string[];
  /** SHA-256 of the whole certificate, in hexadecimal. */
  readonly fingerprint: string;
};

export const OID = {
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  crlDistributionPoints: "2.5.29.31",
  certificatePolicies: "2.5.29.32",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  authorityInfoAccess: "1.3.6.1.5.5.7.1.1",
} as const;

/** Throws `CertificateError`: MALFORMED, ALGORITHM_MIXED (inside and outside differ) or ALGORITHM_UNSUPPORTED. */
export function parseCertificate(bytes: Uint8Array): Certificate {
  try {
    if (bytes.length > CERTIFICATE_BYTES_MAX) throw new DerError("too large");
    // A private copy: what was checked cannot change under the caller's hands afterwards.
    return readCertificate(Uint8Array.from(bytes));
  } catch (cause) {
    if (!(cause instanceof DerError)) throw cause;
    throw new CertificateError("CERTIFICATE_MALFORMED", `the certificate is not strict DER: ${cause.message}`, {
      cause,
    });
  }
}

function readCertificate(bytes: Uint8Array): Certificate {
  const outer = fieldsOf(readDer(bytes));
  const tbs = outer.take(TAG.sequence, "tbsCertificate");
  const outerAlgorithm = outer.take(TAG.sequence, "signatureAlgorithm");
  const signature = readBitBytes(outer.take(TAG.bitString, "signatureValue"));
  outer.end();

  const fields = fieldsOf(tbs);
  readVersion3(fields);
  const serial = readSerial(fields.take(TAG.integer, "serialNumber"));
  const innerAlgorithm = fields.take(TAG.sequence, "signature");
  const issuer = readName(fields.take(TAG.sequence, "issuer"));
  const validity = fieldsOf(fields.take(TAG.sequence, "validity"));
  const notBefore = readTime(validity.takeAny("notBefore"));
  const notAfter = readTime(validity.takeAny("notAfter"));
  validity.end();
  const subject = readName(fields.take(TAG.sequence, "subject"));
  const spki = fields.take(TAG.sequence, "subjectPublicKeyInfo");
  const extensionList = fields.takeIf(contextConstructed(3));
  fields.end();

  const signatureAlgorithm = agreedAlgorithm(innerAlgorithm, outerAlgorithm);
  const publicKey = readPublicKey(spki);
  if (publicKey === undefined) {
    throw new CertificateError("CERTIFICATE_ALGORITHM_UNSUPPORTED", "the certificate's key is not of a supported kind");
  }
  const extensions = extensionList === undefined ? new Map<string, Extension>() : readExtensions(unwrap(extensionList));
  return {
    der: bytes,
    tbs: tbs.raw,
    serial,
    subject,
    issuer,
    notBefore,
    notAfter,
    publicKey,
    signatureAlgorithm,
    signature,
    extensions,
    ...readKnownExtensions(extensions),
    fingerprint: toHex(digest("sha256", bytes)),
  };
}

/** Version 3 only: without extensions nothing tells a CA from a person. */
function readVersion3(fields: Fields): void {
  const version = unwrap(fields.take(contextConstructed(0), "version"));
  if (version.tag !== TAG.integer || readInteger(version) !== 2n) throw new DerError("the version is not 3");
}

/** A positive serial number of at most 20 bytes (RFC 5280 §4.1.2.2), in hexadecimal. */
export function readSerial(element: Element): string {
  if (readInteger(element) <= 0n || element.content.length > 21) throw new DerError("a serial number out of range");
  const hex = toHex(element.content);
  return hex.startsWith("00") ? hex.slice(2) : hex;
}

function agreedAlgorithm(inner: Element, outer: Element): SignatureAlgorithm {
  if (!sameBytes(inner.raw, outer.raw)) {
    throw new CertificateError("CERTIFICATE_ALGORITHM_MIXED", "the signed and the outer signature algorithm differ");
  }
  const algorithm = SIGNATURE_ALGORITHMS[readAlgorithmOid(outer)];
  if (algorithm !== undefined) return algorithm;
  throw new CertificateError("CERTIFICATE_ALGORITHM_UNSUPPORTED", "the signature algorithm is not supported");
}

/** A Name (RFC 5280 §4.1.2.4). String types that are not supported stay in `der` and give no attribute. */
export function readName(element: Element): Name {
  if (element.tag !== TAG.sequence) throw new DerError("a name is a sequence");
  const attributes: NameAttribute[] = [];
  for (const rdn of fieldList(element)) {
    if (rdn.tag !== TAG.set) throw new DerError("a relative name is a set");
    for (const pair of fieldList(rdn, TAG.set)) {
      const fields = fieldsOf(pair);
      const oid = readOid(fields.take(TAG.oid, "attribute type"));
      const value = readString(fields.takeAny("attribute value"));
      fields.end();
      if (value !== undefined) attributes.push({ oid, value });
    }
  }
  return { der: element.raw, attributes };
}

/** Members of a SEQUENCE OF (or what else is named), which X.509 wants non-empty nearly everywhere. */
export function fieldList(element: Element, tag: number = TAG.sequence): Element[] {
  if (element.tag !== tag) throw new DerError(`tag ${element.tag} where ${tag} belongs`);
  const items = children(element);
  if (items.length === 0) throw new DerError("an empty list");
  return items;
}

/** Extensions by OID. The same OID twice is refused: readers differ in which one they believe. */
export function readExtensions(list: Element): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const item of fieldList(list)) {
    const fields = fieldsOf(item);
    const oid = readOid(fields.take(TAG.oid, "extension id"));
    const critical = fields.takeIf(TAG.boolean);
    const value = fields.take(TAG.octetString, "extension value").content;
    fields.end();
    if (critical !== undefined && !readBoolean(critical)) throw new DerError("a default value that DER leaves out");
    if (extensions.has(oid)) throw new DerError("the same extension twice");
    extensions.set(oid, { oid, critical: critical !== undefined, value });
  }
  return extensions;
}

type KnownExtensions = Pick<
  Certificate,
  "keyUsage" | "extendedKeyUsage" | "basicConstraints" | "subjectKeyId" | "authorityKeyId" | "crlUrls" | "ocspUrls"
>;

function readKnownExtensions(extensions: ReadonlyMap<string, Extension>): KnownExtensions {
  const read = <T>(oid: string, reader: (element: Element) => T): T | undefined => {
    const extension = extensions.get(oid);
    return extension === undefined ? undefined : reader(readDer(extension.value));
  };
  return {
    keyUsage: read(OID.keyUsage, readKeyUsage),
    extendedKeyUsage: read(OID.extendedKeyUsage, readExtendedKeyUsage),
    basicConstraints: read(OID.basicConstraints, readBasicConstraints) ?? { ca: false, pathLength: undefined },
    subjectKeyId: read(OID.subjectKeyId, readKeyId),
    authorityKeyId: read(OID.authorityKeyId, readAuthorityKeyId),
    crlUrls: read(OID.crlDistributionPoints, readCrlUrls) ?? [],
    ocspUrls: read(OID.authorityInfoAccess, readOcspUrls) ?? [],
  };
}

function readKeyUsage(element: Element): ReadonlySet<KeyUsage> {
  if (element.tag !== TAG.bitString) throw new DerError("keyUsage is a bit string");
  const bits = readNamedBits(element);
  return new Set(KEY_USAGE_BITS.filter((_, bit) => bits.has(bit)));
}

function readExtendedKeyUsage(element: Element): string[] {
  if (element.tag !== TAG.sequence) throw new DerError("extendedKeyUsage is a sequence");
  return fieldList(element).map((item) => {
    if (item.tag !== TAG.oid) throw new DerError("a key purpose is an OID");
    return readOid(item);
  });
}

function readBasicConstraints(element: Element): Certificate["basicConstraints"] {
  const fields = fieldsOf(element);
  const ca = fields.takeIf(TAG.boolean);
  const pathLength = fields.takeIf(TAG.integer);
  fields.end();
  if (ca !== undefined && !readBoolean(ca)) throw new DerError("a default value that DER leaves out");
  if (ca === undefined && pathLength !== undefined) throw new DerError("a path length without a CA");
  return { ca: ca !== undefined, pathLength: pathLength === undefined ? undefined : readSmall(pathLength, 255) };
}

function readKeyId(element: Element): string {
  if (element.tag !== TAG.octetString) throw new DerError("a key identifier is an octet string");
  return toHex(element.content);
}

export function readAuthorityKeyId(element: Element): string | undefined {
  const fields = fieldsOf(element);
  const keyId = fields.takeIf(contextPrimitive(0));
  fields.takeIf(contextConstructed(1)); // issuer and serial: names and the signature decide, not a hint
  fields.takeIf(contextPrimitive(2));
  fields.end();
  return keyId === undefined ? undefined : toHex(keyId.content);
}

const URI = contextPrimitive(6);
const OID_OCSP = "1.3.6.1.5.5.7.48.1";

function readCrlUrls(element: Element): string[] {
  return fieldList(element).flatMap((point) => {
    const fields = fieldsOf(point);
    const name = fields.takeIf(contextConstructed(0));
    fields.takeIf(contextPrimitive(1));
    fields.takeIf(contextConstructed(2));
    fields.end();
    if (name === undefined) return [];
    const choice = unwrap(name);
    return choice.tag === contextConstructed(0)
      ? fieldList(choice, choice.tag)
          .filter((n) => n.tag === URI)
          .map(readUrl)
      : [];
  });
}

function readOcspUrls(element: Element): string[] {
  return fieldList(element).flatMap((description) => {
    const fields = fieldsOf(description);
    const method = readOid(fields.take(TAG.oid, "access method"));
    const location = fields.takeAny("access location");
    fields.end();
    return method === OID_OCSP && location.tag === URI ? [readUrl(location)] : [];
  });
}

function readUrl(element: Element): string {
  const text = Buffer.from(element.content).toString("latin1");
  if (!/^[\x21-\x7e]{1,2048}$/.test(text)) throw new DerError("a URL with characters that it cannot have");
  return text;
}

/** The DER of every certificate in a PEM text, in order. Throws `CertificateError` when there is none. */
export function certificatesFromPem(pem: string): Uint8Array[] {
  const blocks = [...pem.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----/g)];
  if (blocks.length === 0) throw new CertificateError("CERTIFICATE_MALFORMED", "no PEM certificate in the text");
  return blocks.map((block) => Uint8Array.from(Buffer.from(block[1] ?? "", "base64")));
}
