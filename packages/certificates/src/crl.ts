/** Certificate revocation lists (RFC 5280 §5): full, direct lists only; a delta or indirect list is refused. */
import {
  type Certificate,
  type Extension,
  fieldList,
  type Name,
  OID,
  readAuthorityKeyId,
  readExtensions,
  readName,
  readSerial,
} from "./certificate.ts";
import {
  contextConstructed,
  DerError,
  type Element,
  fieldsOf,
  readBitBytes,
  readDer,
  readInteger,
  readSmall,
  readTime,
  sameBytes,
  TAG,
  unwrap,
} from "./der.ts";
import { readAlgorithmOid, SIGNATURE_ALGORITHMS, type SignatureAlgorithm, verifySignature } from "./signature.ts";

export const REVOCATION_REASONS = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "certificateHold",
  undefined, // 7 is not used
  "removeFromCRL",
  "privilegeWithdrawn",
  "aACompromise",
] as const;

export type RevocationReason = Exclude<(typeof REVOCATION_REASONS)[number], undefined>;
export type Revocation = { readonly at: Date; readonly reason: RevocationReason };

export type Crl = {
  readonly issuer: Name;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** Remember the highest per issuer and pass it as `numberMin`, so that an older list is noticed. */
  readonly number: bigint;
  /** By serial number in hexadecimal. */
  readonly revoked: ReadonlyMap<string, Revocation>;
};

export type CrlReason =
  | "CRL_MALFORMED"
  | "CRL_UNSUPPORTED"
  | "CRL_WRONG_ISSUER"
  | "CRL_SIGNATURE"
  | "CRL_NOT_YET_VALID"
  | "CRL_STALE"
  | "CRL_ROLLED_BACK";

export type CrlResult = { readonly ok: true; readonly crl: Crl } | { readonly ok: false; readonly reason: CrlReason };

const CRL_BYTES_MAX = 32 * 1024 * 1024;
const OID_CRL_NUMBER = "2.5.29.20";
const OID_REASON = "2.5.29.21";

type ParsedCrl = Crl & {
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
  readonly algorithm: SignatureAlgorithm | undefined;
  readonly authorityKeyId: string | undefined;
  readonly unsupported: boolean;
};

export type CrlInput = {
  /** DER of the list. */
  readonly crl: Uint8Array;
  /** The certificate, from a checked path, of the CA whose list this should be. */
  readonly issuer: Certificate;
  readonly at: Date;
  /** The highest CRL number seen from this issuer. */
  readonly numberMin?: bigint;
  /** Refuses a list older than this even before its `nextUpdate`. */
  readonly ageMaxMs?: number;
};

/** Parses and verifies a list. Never throws on bad bytes. */
export function checkCrl(input: CrlInput): CrlResult {
  let crl: ParsedCrl;
  try {
    if (input.crl.length > CRL_BYTES_MAX) return { ok: false, reason: "CRL_MALFORMED" };
    crl = readCrl(Uint8Array.from(input.crl));
  } catch (error) {
    if (error instanceof DerError) return { ok: false, reason: "CRL_MALFORMED" };
    throw error;
  }
  const reason =
    checkIssuer(crl, input) ?? checkSignature(crl, input) ?? checkSupported(crl) ?? checkFreshness(crl, input);
  if (reason !== undefined) return { ok: false, reason };
  const { issuer, thisUpdate, nextUpdate, number, revoked } = crl;
  return { ok: true, crl: { issuer, thisUpdate, nextUpdate, number, revoked } };
}

/** The revocation of `certificate` in a verified list of its issuer; undefined when it is not revoked. */
export function findRevocation(crl: Crl, certificate: Certificate): Revocation | undefined {
  // Serial numbers mean something within one issuer only.
  if (!sameBytes(crl.issuer.der, certificate.issuer.der)) throw new RangeError("the list is of another issuer");
  return crl.revoked.get(certificate.serial);
}

function checkIssuer(crl: ParsedCrl, { issuer }: CrlInput): CrlReason | undefined {
  const named = sameBytes(crl.issuer.der, issuer.subject.der);
  const keyed = crl.authorityKeyId === undefined || crl.authorityKeyId === issuer.subjectKeyId;
  return named && keyed && issuer.keyUsage?.has("cRLSign") === true ? undefined : "CRL_WRONG_ISSUER";
}

function checkSignature(crl: ParsedCrl, { issuer }: CrlInput): CrlReason | undefined {
  const { algorithm, tbs, signature } = crl;
  if (algorithm === undefined) return "CRL_UNSUPPORTED";
  return verifySignature(issuer.publicKey, algorithm, tbs, signature) ? undefined : "CRL_SIGNATURE";
}

const checkSupported = (crl: ParsedCrl): CrlReason | undefined => (crl.unsupported ? "CRL_UNSUPPORTED" : undefined);

function checkFreshness(crl: ParsedCrl, { at, numberMin, ageMaxMs }: CrlInput): CrlReason | undefined {
  if (crl.thisUpdate > at) return "CRL_NOT_YET_VALID";
  if (crl.nextUpdate <= at) return "CRL_STALE";
  if (ageMaxMs !== undefined && at.getTime() - crl.thisUpdate.getTime() > ageMaxMs) return "CRL_STALE";
  return numberMin !== undefined && crl.number < numberMin ? "CRL_ROLLED_BACK" : undefined;
}

function readCrl(bytes: Uint8Array): ParsedCrl {
  const outer = fieldsOf(readDer(bytes));
  const tbs = outer.take(TAG.sequence, "tbsCertList");
  const outerAlgorithm = outer.take(TAG.sequence, "signatureAlgorithm");
  const signature = readBitBytes(outer.take(TAG.bitString, "signatureValue"));
  outer.end();

  const fields = fieldsOf(tbs);
  if (readInteger(fields.take(TAG.integer, "version")) !== 1n) throw new DerError("the version is not 2");
  const innerAlgorithm = fields.take(TAG.sequence, "signature");
  if (!sameBytes(innerAlgorithm.raw, outerAlgorithm.raw)) throw new DerError("two signature algorithms");
  const issuer = readName(fields.take(TAG.sequence, "issuer"));
  const thisUpdate = readTime(fields.takeAny("thisUpdate"));
  const nextUpdate = readTime(fields.takeAny("nextUpdate"));
  const entries = fields.takeIf(TAG.sequence);
  const extensions = readExtensions(unwrap(fields.take(contextConstructed(0), "crlExtensions")));
  fields.end();

  const { revoked, unsupported } = readEntries(entries);
  const number = extensions.get(OID_CRL_NUMBER);
  const authorityKeyId = extensions.get(OID.authorityKeyId);
  if (number === undefined) throw new DerError("the CRL number is missing");
  return {
    issuer,
    thisUpdate,
    nextUpdate,
    number: readInteger(readDer(number.value)),
    revoked,
    tbs: tbs.raw,
    signature,
    algorithm: SIGNATURE_ALGORITHMS[readAlgorithmOid(outerAlgorithm)],
    authorityKeyId: authorityKeyId === undefined ? undefined : readAuthorityKeyId(readDer(authorityKeyId.value)),
    unsupported: unsupported || hasCritical(extensions),
  };
}

/** Delta and scoped lists mark themselves by critical extensions: such a list says nothing by its silence. */
const hasCritical = (extensions: ReadonlyMap<string, Extension>): boolean =>
  [...extensions.values()].some(({ oid, critical }) => critical && oid !== OID_CRL_NUMBER && oid !== OID_REASON);

function readEntries(list: Element | undefined): { revoked: Map<string, Revocation>; unsupported: boolean } {
  const revoked = new Map<string, Revocation>();
  let unsupported = false;
  for (const entry of list === undefined ? [] : fieldList(list)) {
    const fields = fieldsOf(entry);
    const serial = readSerial(fields.take(TAG.integer, "userCertificate"));
    const at = readTime(fields.takeAny("revocationDate"));
    const extensionList = fields.takeIf(TAG.sequence);
    fields.end();
    const extensions = extensionList === undefined ? undefined : readExtensions(extensionList);
    const reason = extensions?.get(OID_REASON);
    unsupported ||= extensions !== undefined && hasCritical(extensions);
    revoked.set(serial, { at, reason: reason === undefined ? "unspecified" : readReason(readDer(reason.value)) });
  }
  return { revoked, unsupported };
}

/** CRLReason (RFC 5280 §5.3.1). */
export function readReason(element: Element): RevocationReason {
  if (element.tag !== TAG.enumerated) throw new DerError("a reason is an enumerated value");
  const reason = REVOCATION_REASONS[readSmall(element, 10)];
  if (reason === undefined) throw new DerError("a reason that does not exist");
  return reason;
}
