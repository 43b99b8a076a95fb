/**
 * From a subject's certificate to an anchor of one configured CA (RFC 5280 §6, without policies and name constraints).
 *
 *   leaf ── intermediates, chained by name ── anchor        every candidate chain goes through CHECKS, in order
 *
 * The order is the security argument: names and algorithms, then signatures, and only then what the signed bytes claim.
 * So a forged chain always answers CERTIFICATE_UNTRUSTED, whatever it says about itself.
 * Revocation is a separate step (`checkRevocation`).
 */
import {
  type Certificate,
  CertificateError,
  type CertificateParseReason,
  OID,
  parseCertificate,
} from "./certificate.ts";
import { sameBytes } from "./der.ts";
import { verifySignature } from "./signature.ts";

export type PathReason =
  | CertificateParseReason
  | "CERTIFICATE_UNTRUSTED"
  | "CERTIFICATE_EXPIRED"
  | "CERTIFICATE_NOT_YET_VALID"
  | "CERTIFICATE_NOT_A_CA"
  | "CERTIFICATE_PATH_TOO_LONG"
  | "CERTIFICATE_KEY_USAGE"
  | "CERTIFICATE_CRITICAL_EXTENSION";

/** What the leaf's key is about to be trusted for. */
export type PathPurpose = "SUBJECT_SIGNATURE" | "OCSP_RESPONSE";

export type PathInput = {
  /** DER of the subject's certificate. */
  readonly leaf: Uint8Array;
  /** DER of the certificates that came with it, in any order; at most 8. */
  readonly intermediates: readonly Uint8Array[];
  /** Anchors of ONE CA, as configured. A chain never crosses from one CA to another. */
  readonly anchors: readonly Certificate[];
  readonly at: Date;
  readonly purpose: PathPurpose;
  /** OIDs of extensions that the caller reads itself and that may therefore be critical. */
  readonly recognisedExtensions?: readonly string[];
};

/** `path`: leaf first, anchor last, at least two certificates. */
export type PathResult =
  | { readonly ok: true; readonly path: readonly Certificate[] }
  | { readonly ok: false; readonly reason: PathReason };

const INTERMEDIATES_MAX = 8;
const CHAINS_MAX = 16;

type Chain = readonly Certificate[];
type Check = (chain: Chain, input: PathInput) => PathReason | undefined;

const CHECKS: readonly Check[] = [
  checkKeyIdentifiers,
  checkAlgorithms,
  checkSignatures,
  checkValidity,
  checkCaCertificates,
  checkPathLengths,
  checkKeyUsage,
  checkExtendedKeyUsage,
  checkCriticalExtensions,
];

/**
 * Builds a path from the leaf to an anchor and checks it. Never throws on bad certificates: the reason says what was
 * wrong with the chain that came furthest.
 */
export function buildAndCheckPath(input: PathInput): PathResult {
  if (input.intermediates.length > INTERMEDIATES_MAX) return { ok: false, reason: "CERTIFICATE_PATH_TOO_LONG" };
  let leaf: Certificate;
  let intermediates: Certificate[];
  try {
    leaf = parseCertificate(input.leaf);
    intermediates = input.intermediates.map(parseCertificate);
  } catch (error) {
    if (error instanceof CertificateError) return { ok: false, reason: error.reason };
    throw error;
  }
  return bestChain(candidateChains(leaf, intermediates, input.anchors), input);
}

function bestChain(chains: readonly Chain[], input: PathInput): PathResult {
  let furthest = -1;
  let reason: PathReason = "CERTIFICATE_UNTRUSTED";
  for (const chain of chains) {
    const failure = firstFailure(chain, input);
    if (failure === undefined) return { ok: true, path: chain };
    if (failure.step > furthest) ({ step: furthest, reason } = failure);
  }
  return { ok: false, reason };
}

function firstFailure(chain: Chain, input: PathInput): { step: number; reason: PathReason } | undefined {
  for (const [step, check] of CHECKS.entries()) {
    const reason = check(chain, input);
    if (reason !== undefined) return { step, reason };
  }
  return undefined;
}

/** Chains in which each issuer's name is the next one's subject, byte for byte; shortest first, each ending in an anchor. Bounded, so that look-alikes cost little. */
function candidateChains(leaf: Certificate, intermediates: readonly Certificate[], anchors: readonly Certificate[]) {
  const complete: Chain[] = [];
  let open: Chain[] = [[leaf]];
  while (open.length > 0 && complete.length < CHAINS_MAX) {
    complete.push(...open.flatMap((chain) => extendChain(chain, anchors)));
    open = open.flatMap((chain) => extendChain(chain, intermediates)).slice(0, CHAINS_MAX);
  }
  return complete.slice(0, CHAINS_MAX);
}

function extendChain(chain: Chain, issuers: readonly Certificate[]): Chain[] {
  const last = chain.at(-1);
  if (last === undefined) return [];
  return issuers
    .filter((issuer) => sameBytes(issuer.subject.der, last.issuer.der))
    .filter((issuer) => !chain.some((member) => member.fingerprint === issuer.fingerprint))
    .map((issuer) => [...chain, issuer]);
}

/** Each certificate with the one that issued it. */
function links(chain: Chain): { child: Certificate; issuer: Certificate }[] {
  return chain.slice(0, -1).flatMap((child, index) => {
    const issuer = chain[index + 1];
    return issuer === undefined ? [] : [{ child, issuer }];
  });
}

/** Where the child names its issuer's key, it must be this key: two CAs may share a name. */
function checkKeyIdentifiers(chain: Chain): PathReason | undefined {
  const agree = links(chain).every(
    ({ child, issuer }) => child.authorityKeyId === undefined || child.authorityKeyId === issuer.subjectKeyId,
  );
  return agree ? undefined : "CERTIFICATE_UNTRUSTED";
}

/** SM2 never mixes with RSA or ECDSA in one chain. That an algorithm fits its key is part of verifying a signature. */
function checkAlgorithms(chain: Chain): PathReason | undefined {
  const sm2 = chain.filter(({ publicKey }) => publicKey.family === "SM2").length;
  return sm2 === 0 || sm2 === chain.length ? undefined : "CERTIFICATE_ALGORITHM_MIXED";
}

/** From the anchor down, so that only keys that are certified already are ever used. */
function checkSignatures(chain: Chain): PathReason | undefined {
  const signed = links(chain)
    .toReversed()
    .every(({ child, issuer }) =>
      verifySignature(issuer.publicKey, child.signatureAlgorithm, child.tbs, child.signature),
    );
  return signed ? undefined : "CERTIFICATE_UNTRUSTED";
}

/** Every certificate, the anchor included, is inside its period; both ends belong to it (RFC 5280 §4.1.2.5). */
function checkValidity(chain: Chain, { at }: PathInput): PathReason | undefined {
  // A period ends with its last second, of which `notAfter` is the beginning.
  if (chain.some(({ notAfter }) => at.getTime() >= notAfter.getTime() + 1000)) return "CERTIFICATE_EXPIRED";
  return chain.every(({ notBefore }) => at >= notBefore) ? undefined : "CERTIFICATE_NOT_YET_VALID";
}

/** Everyone above the leaf is a CA that may sign certificates. */
function checkCaCertificates(chain: Chain): PathReason | undefined {
  const issuers = chain.slice(1);
  if (!issuers.every(({ basicConstraints }) => basicConstraints.ca)) return "CERTIFICATE_NOT_A_CA";
  return issuers.every(({ keyUsage }) => keyUsage?.has("keyCertSign") === true) ? undefined : "CERTIFICATE_KEY_USAGE";
}

/** pathLen bounds the intermediates below a CA; self-issued ones do not count (RFC 5280 §6.1.4 (l)). */
function checkPathLengths(chain: Chain): PathReason | undefined {
  const tooLong = chain.some((certificate, index) => {
    const below = chain.slice(1, index).filter(({ subject, issuer }) => !sameBytes(subject.der, issuer.der)).length;
    return below > (certificate.basicConstraints.pathLength ?? Number.POSITIVE_INFINITY);
  });
  return tooLong ? "CERTIFICATE_PATH_TOO_LONG" : undefined;
}

/** The leaf signs and is no CA. Of a sign-and-encrypt pair only the signing certificate passes. */
function checkKeyUsage([leaf]: Chain, { purpose }: PathInput): PathReason | undefined {
  if (leaf === undefined || leaf.basicConstraints.ca) return "CERTIFICATE_KEY_USAGE";
  const signs = leaf.keyUsage?.has("digitalSignature") === true || leaf.keyUsage?.has("nonRepudiation") === true;
  // RFC 6960 names only the extended key usage; a responder's certificate may leave keyUsage out.
  return signs || (purpose === "OCSP_RESPONSE" && leaf.keyUsage === undefined) ? undefined : "CERTIFICATE_KEY_USAGE";
}

const EKU_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
/** Any of these lets a key sign for its subject: any, clientAuth, emailProtection, smart-card logon, documentSigning. */
const EKU_SUBJECT = [
  "2.5.29.37.0",
  "1.3.6.1.5.5.7.3.2",
  "1.3.6.1.5.5.7.3.4",
  "1.3.6.1.4.1.311.20.2.2",
  "1.3.6.1.5.5.7.3.36",
];

/** A server's, code signer's or responder's certificate is not its subject's signature. */
function checkExtendedKeyUsage([leaf]: Chain, { purpose }: PathInput): PathReason | undefined {
  const uses = leaf?.extendedKeyUsage;
  const fits =
    purpose === "OCSP_RESPONSE"
      ? uses?.includes(EKU_OCSP_SIGNING) === true
      : uses === undefined || uses.some((use) => EKU_SUBJECT.includes(use));
  return fits ? undefined : "CERTIFICATE_KEY_USAGE";
}

/** Extensions that this module enforces, or that may be ignored safely although critical (no policy is demanded). */
const RECOGNISED: readonly string[] = [
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.basicConstraints,
  OID.subjectAltName,
  OID.certificatePolicies,
];

/** What we do not understand and must not ignore. Name constraints count as critical even where not marked. */
function checkCriticalExtensions(chain: Chain, { recognisedExtensions = [] }: PathInput): PathReason | undefined {
  const unknown = chain.some(({ extensions }) =>
    [...extensions.values()].some(
      ({ oid, critical }) =>
        oid === OID.nameConstraints || (critical && !RECOGNISED.includes(oid) && !recognisedExtensions.includes(oid)),
    ),
  );
  return unknown ? "CERTIFICATE_CRITICAL_EXTENSION" : undefined;
}
