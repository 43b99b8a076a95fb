/**
 * Online certificate status (RFC 6960): a request with a nonce, and the checks on what comes back.
 * The transport is the caller's.
 */
import { type Certificate, fieldList, readExtensions, readSerial } from "./certificate.ts";
import { type Revocation, readReason } from "./crl.ts";
import {
  children,
  contextConstructed,
  contextPrimitive,
  DerError,
  der,
  derInteger,
  derNull,
  derOctets,
  derOid,
  derSequence,
  type Element,
  fieldsOf,
  readBitBytes,
  readDer,
  readOid,
  readSmall,
  readTime,
  sameBytes,
  TAG,
  toHex,
  unwrap,
} from "./der.ts";
import { buildAndCheckPath } from "./path.ts";
import {
  digest,
  readAlgorithmOid,
  SIGNATURE_ALGORITHMS,
  type SignatureAlgorithm,
  verifySignature,
} from "./signature.ts";

export type OcspReason =
  | "OCSP_MALFORMED"
  | "OCSP_UNSUPPORTED"
  | "OCSP_REFUSED"
  | "OCSP_SIGNER"
  | "OCSP_SIGNATURE"
  | "OCSP_NONCE"
  | "OCSP_WRONG_CERTIFICATE"
  | "OCSP_NOT_YET_VALID"
  | "OCSP_STALE"
  | "OCSP_UNKNOWN";

/** `revocation` undefined: the responder vouches that the certificate is good. */
export type OcspResult =
  | { readonly ok: true; readonly revocation: Revocation | undefined; readonly thisUpdate: Date }
  | { readonly ok: false; readonly reason: OcspReason };

export type OcspInput = {
  /** DER of the OCSPResponse. */
  readonly response: Uint8Array;
  readonly certificate: Certificate;
  /** Its issuer, from a checked path. */
  readonly issuer: Certificate;
  readonly at: Date;
  /** The nonce that was sent. When given, the response must carry the same one. */
  readonly nonce: Uint8Array | undefined;
  /** A response whose `thisUpdate` is older than this is stale whatever it says. */
  readonly ageMaxMs: number;
  /** How far the responder's clock may run ahead. */
  readonly clockSkewMs?: number;
};

const OID_BASIC = "1.3.6.1.5.5.7.48.1.1";
export const OID_OCSP_NONCE = "1.3.6.1.5.5.7.48.1.2";
const OID_NO_CHECK = "1.3.6.1.5.5.7.48.1.5";
const OID_SHA1 = "1.3.14.3.2.26";
const OID_SHA256 = "2.16.840.1.101.3.4.2.1";

const RESPONSE_BYTES_MAX = 64 * 1024;
const CLOCK_SKEW_MS = 60_000;

/** Names one certificate to a responder: hashes of its issuer's name and key, and its serial number. */
export type CertificateId = {
  readonly hash: "sha1" | "sha256";
  readonly issuerNameHash: string;
  readonly issuerKeyHash: string;
  readonly serial: string;
};

export function certificateId(
  certificate: Pick<Certificate, "serial">,
  issuer: Certificate,
  hash: CertificateId["hash"],
): CertificateId {
  return {
    hash,
    issuerNameHash: toHex(digest(hash, issuer.subject.der)),
    issuerKeyHash: toHex(digest(hash, issuer.publicKey.bits)),
    serial: certificate.serial,
  };
}

/** DER of a request for one certificate. `nonce`: 8 to 32 random bytes (RFC 8954). */
export function buildOcspRequest(input: {
  readonly certificate: Certificate;
  readonly issuer: Certificate;
  readonly nonce: Uint8Array | undefined;
}): Uint8Array {
  const id = writeCertificateId(certificateId(input.certificate, input.issuer, "sha256"));
  const list = derSequence(derSequence(id));
  if (input.nonce === undefined) return derSequence(derSequence(list));
  if (input.nonce.length < 8 || input.nonce.length > 32) throw new RangeError("an OCSP nonce has 8 to 32 bytes");
  const extensions = derSequence(derSequence(derOid(OID_OCSP_NONCE), derOctets(derOctets(input.nonce))));
  return derSequence(derSequence(list, der(contextConstructed(2), extensions)));
}

export function writeCertificateId(id: CertificateId): Uint8Array {
  return derSequence(
    derSequence(derOid(id.hash === "sha1" ? OID_SHA1 : OID_SHA256), derNull()),
    derOctets(Buffer.from(id.issuerNameHash, "hex")),
    derOctets(Buffer.from(id.issuerKeyHash, "hex")),
    derInteger(BigInt(`0x${id.serial}`)),
  );
}

/** Throws `DerError`; undefined when it is hashed with something else than SHA-1 or SHA-256. */
export function readCertificateId(element: Element): CertificateId | undefined {
  const fields = fieldsOf(element);
  const oid = readAlgorithmOid(fields.take(TAG.sequence, "hashAlgorithm"));
  const issuerNameHash = toHex(fields.take(TAG.octetString, "issuerNameHash").content);
  const issuerKeyHash = toHex(fields.take(TAG.octetString, "issuerKeyHash").content);
  const serial = readSerial(fields.take(TAG.integer, "serialNumber"));
  fields.end();
  const hash = oid === OID_SHA1 ? "sha1" : oid === OID_SHA256 ? "sha256" : undefined;
  return hash === undefined ? undefined : { hash, issuerNameHash, issuerKeyHash, serial };
}

export function sameCertificateId(a: CertificateId, b: CertificateId): boolean {
  return (
    a.hash === b.hash &&
    a.issuerNameHash === b.issuerNameHash &&
    a.issuerKeyHash === b.issuerKeyHash &&
    a.serial === b.serial
  );
}

type SingleResponse = {
  readonly id: CertificateId | undefined;
  readonly status:
    | { readonly kind: "GOOD" | "UNKNOWN" }
    | { readonly kind: "REVOKED"; readonly revocation: Revocation };
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  readonly critical: boolean;
};

type BasicResponse = {
  readonly tbs: Uint8Array;
  readonly responder: { readonly name: Uint8Array } | { readonly keyHash: string };
  readonly responses: readonly SingleResponse[];
  readonly nonce: Uint8Array | undefined;
  readonly critical: boolean;
  readonly algorithm: SignatureAlgorithm | undefined;
  readonly signature: Uint8Array;
  readonly certificates: readonly Uint8Array[];
};

/** Verifies a response: signer, signature, nonce, certificate, freshness, and only then its status. Never throws. */
export function checkOcspResponse(input: OcspInput): OcspResult {
  let basic: BasicResponse | undefined;
  try {
    if (input.response.length > RESPONSE_BYTES_MAX) return refuse("OCSP_MALFORMED");
    basic = readResponse(Uint8Array.from(input.response));
  } catch (error) {
    if (error instanceof DerError) return refuse("OCSP_MALFORMED");
    throw error;
  }
  if (basic === undefined) return refuse("OCSP_REFUSED");
  const reason = checkSigned(basic, input) ?? checkNonce(basic, input);
  if (reason !== undefined) return refuse(reason);
  return checkStatus(basic, input);
}

const refuse = (reason: OcspReason): OcspResult => ({ ok: false, reason });

function checkSigned(basic: BasicResponse, input: OcspInput): OcspReason | undefined {
  if (basic.algorithm === undefined || basic.critical) return "OCSP_UNSUPPORTED";
  const signer = findSigner(basic, input);
  if (signer === undefined) return "OCSP_SIGNER";
  return verifySignature(signer.publicKey, basic.algorithm, basic.tbs, basic.signature) ? undefined : "OCSP_SIGNATURE";
}

/** The issuer itself, or a responder that the issuer certified directly and for this purpose (RFC 6960 §4.2.2.2). */
function findSigner({ responder, certificates }: BasicResponse, { issuer, at }: OcspInput): Certificate | undefined {
  const isResponder = (certificate: Certificate): boolean =>
    "name" in responder
      ? sameBytes(responder.name, certificate.subject.der)
      : responder.keyHash === toHex(digest("sha1", certificate.publicKey.bits));
  if (isResponder(issuer) && issuer.keyUsage?.has("digitalSignature") === true) return issuer;
  for (const leaf of certificates) {
    const checked = buildAndCheckPath({ leaf, intermediates: [], anchors: [issuer], at, purpose: "OCSP_RESPONSE" });
    const delegate = checked.ok ? checked.path[0] : undefined;
    // Without no-check, the responder's own status would have to be asked, from itself.
    if (delegate?.extensions.has(OID_NO_CHECK) && isResponder(delegate)) return delegate;
  }
  return undefined;
}

function checkNonce(basic: BasicResponse, { nonce }: OcspInput): OcspReason | undefined {
  if (nonce === undefined) return undefined;
  return basic.nonce !== undefined && sameBytes(basic.nonce, nonce) ? undefined : "OCSP_NONCE";
}

function checkStatus(basic: BasicResponse, input: OcspInput): OcspResult {
  const { certificate, issuer } = input;
  const [ours, ...more] = basic.responses.filter(
    ({ id }) => id !== undefined && sameCertificateId(id, certificateId(certificate, issuer, id.hash)),
  );
  if (ours === undefined || more.length > 0) return refuse("OCSP_WRONG_CERTIFICATE");
  if (ours.critical) return refuse("OCSP_UNSUPPORTED");
  const stale = checkFreshness(ours, input);
  if (stale !== undefined) return refuse(stale);
  if (ours.status.kind === "UNKNOWN") return refuse("OCSP_UNKNOWN");
  const revocation = ours.status.kind === "REVOKED" ? ours.status.revocation : undefined;
  return { ok: true, revocation, thisUpdate: ours.thisUpdate };
}

function checkFreshness(response: SingleResponse, input: OcspInput): OcspReason | undefined {
  const { at, ageMaxMs, clockSkewMs = CLOCK_SKEW_MS } = input;
  const age = at.getTime() - response.thisUpdate.getTime();
  if (age < -clockSkewMs) return "OCSP_NOT_YET_VALID";
  const ended = response.nextUpdate !== undefined && response.nextUpdate <= at;
  return ended || age > ageMaxMs ? "OCSP_STALE" : undefined;
}

/** Undefined when the responder answered with an error instead of a response. */
function readResponse(bytes: Uint8Array): BasicResponse | undefined {
  const fields = fieldsOf(readDer(bytes));
  const status = readSmall(fields.take(TAG.enumerated, "responseStatus"), 6);
  const wrapped = fields.takeIf(contextConstructed(0));
  fields.end();
  if (status !== 0) return undefined;
  if (wrapped === undefined) throw new DerError("the response is missing");
  const response = fieldsOf(unwrap(wrapped));
  const type = readOid(response.take(TAG.oid, "responseType"));
  const body = response.take(TAG.octetString, "response").content;
  response.end();
  if (type !== OID_BASIC) throw new DerError("not a basic response");
  return readBasic(readDer(body));
}

function readBasic(element: Element): BasicResponse {
  const fields = fieldsOf(element);
  const tbs = fields.take(TAG.sequence, "tbsResponseData");
  const algorithm = SIGNATURE_ALGORITHMS[readAlgorithmOid(fields.take(TAG.sequence, "signatureAlgorithm"))];
  const signature = readBitBytes(fields.take(TAG.bitString, "signature"));
  const certificates = fields.takeIf(contextConstructed(0));
  fields.end();

  const data = fieldsOf(tbs);
  if (data.takeIf(contextConstructed(0)) !== undefined) throw new DerError("a version that is not 1");
  const responder = readResponder(data.takeAny("responderID"));
  readTime(data.take(TAG.generalizedTime, "producedAt"));
  const responses = children(data.take(TAG.sequence, "responses")).map(readSingle);
  const extensionList = data.takeIf(contextConstructed(1));
  data.end();
  const extensions = extensionList === undefined ? undefined : readExtensions(unwrap(extensionList));
  const nonce = extensions?.get(OID_OCSP_NONCE);
  return {
    tbs: tbs.raw,
    responder,
    responses,
    nonce: nonce === undefined ? undefined : readNonce(nonce.value),
    critical: [...(extensions?.values() ?? [])].some(({ oid, critical }) => critical && oid !== OID_OCSP_NONCE),
    algorithm,
    signature,
    certificates: certificates === undefined ? [] : fieldList(unwrap(certificates)).map(({ raw }) => raw),
  };
}

/** The nonce inside its extension's value. Throws `DerError`. */
export function readNonce(value: Uint8Array): Uint8Array {
  const element = readDer(value);
  if (element.tag !== TAG.octetString) throw new DerError("a nonce is an octet string");
  return element.content;
}

function readResponder(element: Element): BasicResponse["responder"] {
  const inner = unwrap(element);
  if (element.tag === contextConstructed(1)) return { name: inner.raw };
  if (element.tag === contextConstructed(2) && inner.tag === TAG.octetString) return { keyHash: toHex(inner.content) };
  throw new DerError("not a responder id");
}

function readSingle(element: Element): SingleResponse {
  const fields = fieldsOf(element);
  const id = readCertificateId(fields.take(TAG.sequence, "certID"));
  const status = readStatus(fields.takeAny("certStatus"));
  const thisUpdate = readTime(fields.take(TAG.generalizedTime, "thisUpdate"));
  const next = fields.takeIf(contextConstructed(0));
  const extensionList = fields.takeIf(contextConstructed(1));
  fields.end();
  const extensions = extensionList === undefined ? undefined : readExtensions(unwrap(extensionList));
  return {
    id,
    status,
    thisUpdate,
    nextUpdate: next === undefined ? undefined : readTime(unwrap(next)),
    critical: [...(extensions?.values() ?? [])].some(({ critical }) => critical),
  };
}

function readStatus(element: Element): SingleResponse["status"] {
  if (element.tag === contextPrimitive(0) && element.content.length === 0) return { kind: "GOOD" };
  if (element.tag === contextPrimitive(2) && element.content.length === 0) return { kind: "UNKNOWN" };
  const fields = fieldsOf(element, contextConstructed(1));
  const at = readTime(fields.take(TAG.generalizedTime, "revocationTime"));
  const reason = fields.takeIf(contextConstructed(0));
  fields.end();
  return {
    kind: "REVOKED",
    revocation: { at, reason: reason === undefined ? "unspecified" : readReason(unwrap(reason)) },
  };
}

/** For a responder: what a request asks. Throws `DerError` on bad bytes. */
export function readOcspRequest(bytes: Uint8Array): {
  /** Undefined where the hash is not one of ours. */
  readonly ids: readonly (CertificateId | undefined)[];
  readonly nonce: Uint8Array | undefined;
} {
  const outer = fieldsOf(readDer(bytes));
  const tbs = fieldsOf(outer.take(TAG.sequence, "tbsRequest"));
  outer.takeIf(contextConstructed(0));
  outer.end();
  tbs.takeIf(contextConstructed(0));
  tbs.takeIf(contextConstructed(1));
  const list = children(tbs.take(TAG.sequence, "requestList"));
  const extensionList = tbs.takeIf(contextConstructed(2));
  tbs.end();
  const nonce = extensionList === undefined ? undefined : readExtensions(unwrap(extensionList)).get(OID_OCSP_NONCE);
  return {
    ids: list.map((item) => readCertificateId(fieldsOf(item).take(TAG.sequence, "reqCert"))),
    nonce: nonce === undefined ? undefined : readNonce(nonce.value),
  };
}
