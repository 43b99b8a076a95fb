/** CMS / PKCS#7 SignedData (RFC 5652, GM/T 0010-2012) with exactly one signer: what a certificate client returns. */
import { type Certificate, fieldList, readSerial } from "./certificate.ts";
import {
  contextConstructed,
  contextPrimitive,
  DerError,
  der,
  type Element,
  fieldsOf,
  readDer,
  readOid,
  readSmall,
  sameBytes,
  TAG,
  toHex,
  unwrap,
} from "./der.ts";
import type { PublicKey, SignatureAlgorithm } from "./signature.ts";
import { HASH_ALGORITHMS, type HashName, readAlgorithmOid, SIGNATURE_ALGORITHMS } from "./signature.ts";

/** signedData and data, by RFC 5652 and by GM/T 0010. */
const OID_SIGNED_DATA = ["1.2.840.113549.1.7.2", "1.2.156.10197.6.1.4.2.2"];
const OID_DATA = ["1.2.840.113549.1.7.1", "1.2.156.10197.6.1.4.2.1"];
const OID_CONTENT_TYPE = "1.2.840.113549.1.9.3";
const OID_MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
/** Some clients name only the key's algorithm: RSA, EC, SM2 signature, SM2. The digest algorithm then completes it. */
const OID_BARE_KEYS: Readonly<Record<string, PublicKey["family"]>> = {
  "1.2.840.113549.1.1.1": "RSA",
  "1.2.840.10045.2.1": "ECDSA",
  "1.2.156.10197.1.301.1": "SM2",
  "1.2.156.10197.1.301": "SM2",
};

export type SignedData = {
  /** The content when it travels inside (attached); undefined when detached. */
  readonly content: Uint8Array | undefined;
  readonly isSigner: (certificate: Certificate) => boolean;
  readonly hash: HashName | undefined;
  readonly algorithm: SignatureAlgorithm | undefined;
  /** What is signed instead of the content, and the digest of the content in it. Undefined: the content is signed. */
  readonly attributes: { readonly signed: Uint8Array; readonly messageDigest: Uint8Array } | undefined;
  readonly signature: Uint8Array;
};

/** Throws `DerError` for anything but DER SignedData over plain data by exactly one signer. */
export function readSignedData(bytes: Uint8Array): SignedData {
  const info = fieldsOf(readDer(bytes));
  if (!OID_SIGNED_DATA.includes(readOid(info.take(TAG.oid, "contentType")))) throw new DerError("not signed data");
  const data = fieldsOf(unwrap(info.take(contextConstructed(0), "content")));
  info.end();

  readSmall(data.take(TAG.integer, "version"), 5);
  data.take(TAG.set, "digestAlgorithms");
  const { type, content } = readContent(data.take(TAG.sequence, "encapContentInfo"));
  data.takeIf(contextConstructed(0)); // certificates: the caller knows which one must have signed
  data.takeIf(contextConstructed(1)); // crls
  const [signer, ...more] = fieldList(data.take(TAG.set, "signerInfos"), TAG.set);
  data.end();
  if (signer === undefined || more.length > 0) throw new DerError("exactly one signer belongs here");
  return { content, ...readSigner(signer, type) };
}

function readContent(element: Element): { type: string; content: Uint8Array | undefined } {
  const fields = fieldsOf(element);
  const type = readOid(fields.take(TAG.oid, "eContentType"));
  const wrapped = fields.takeIf(contextConstructed(0));
  fields.end();
  if (!OID_DATA.includes(type)) throw new DerError("the content is not plain data");
  if (wrapped === undefined) return { type, content: undefined };
  const octets = unwrap(wrapped);
  if (octets.tag !== TAG.octetString) throw new DerError("the content is not an octet string");
  return { type, content: octets.content };
}

function readSigner(element: Element, contentType: string): Omit<SignedData, "content"> {
  const fields = fieldsOf(element);
  readSmall(fields.take(TAG.integer, "version"), 3);
  const isSigner = readSignerId(fields.takeAny("sid"));
  const hash = HASH_ALGORITHMS[readAlgorithmOid(fields.take(TAG.sequence, "digestAlgorithm"))];
  const attributes = fields.takeIf(contextConstructed(0));
  const algorithm = readAlgorithm(readAlgorithmOid(fields.take(TAG.sequence, "signatureAlgorithm")), hash);
  const signature = fields.take(TAG.octetString, "signature").content;
  fields.takeIf(contextConstructed(1)); // unsigned attributes prove nothing
  fields.end();
  return {
    isSigner,
    hash,
    algorithm,
    attributes: attributes === undefined ? undefined : readAttributes(attributes, contentType),
    signature,
  };
}

function readSignerId(element: Element): (certificate: Certificate) => boolean {
  if (element.tag === contextPrimitive(0)) {
    const keyId = toHex(element.content);
    return (certificate) => certificate.subjectKeyId === keyId;
  }
  const fields = fieldsOf(element);
  const issuer = fields.take(TAG.sequence, "issuer").raw;
  const serial = readSerial(fields.take(TAG.integer, "serialNumber"));
  fields.end();
  return (certificate) => certificate.serial === serial && sameBytes(certificate.issuer.der, issuer);
}

/** The algorithm, only where the digest and the signature agree about the hash. */
function readAlgorithm(oid: string, hash: HashName | undefined): SignatureAlgorithm | undefined {
  if (hash === undefined) return undefined;
  const bare = OID_BARE_KEYS[oid];
  const algorithm = bare === undefined ? SIGNATURE_ALGORITHMS[oid] : { family: bare, hash };
  const sm = algorithm?.family === "SM2";
  return algorithm?.hash === hash && sm === (hash === "sm3") ? algorithm : undefined;
}

/** Content type and message digest, each once with one value (RFC 5652 §5.3, §11). */
function readAttributes(element: Element, contentType: string): NonNullable<SignedData["attributes"]> {
  const values = new Map<string, Element>();
  for (const attribute of fieldList(element, element.tag)) {
    const fields = fieldsOf(attribute);
    const oid = readOid(fields.take(TAG.oid, "attribute type"));
    const [value, ...more] = fieldList(fields.take(TAG.set, "attribute values"), TAG.set);
    fields.end();
    if (values.has(oid) || value === undefined) throw new DerError("the same attribute twice");
    if (more.length > 0 && (oid === OID_CONTENT_TYPE || oid === OID_MESSAGE_DIGEST)) {
      throw new DerError("an attribute with several values");
    }
    values.set(oid, value);
  }
  const type = values.get(OID_CONTENT_TYPE);
  const messageDigest = values.get(OID_MESSAGE_DIGEST);
  if (type?.tag !== TAG.oid || readOid(type) !== contentType)
    throw new DerError("the content type is not the signed one");
  if (messageDigest?.tag !== TAG.octetString) throw new DerError("the message digest is missing");
  // Signed as a SET OF, although sent under an implicit tag (RFC 5652 §5.4).
  return { signed: der(TAG.set, element.content), messageDigest: messageDigest.content };
}
