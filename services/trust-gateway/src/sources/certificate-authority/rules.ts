/** Which configured CA a certificate belongs to, whose it is, and how its refusals are told. Pure. */
import { type CertificateProof, SignatureFormat } from "@fujie/api/fujie/trust/v1/certificate";
import {
  buildAndCheckPath,
  type CaProfile,
  type Certificate,
  type IdentityReason,
  type PathReason,
  type PathResult,
  parseCertificate,
  readIdentity,
  verifyPossession,
} from "@fujie/certificates";
import { parseCitizenId, parseUscc } from "@fujie/identity";
import type { Reason } from "@fujie/kit/errors";
import { dayInChina } from "../../claims/rules.ts";

/** Reasons of the package as the catalogue's. */
const pathReasons = {
  CERTIFICATE_MALFORMED: "CERTIFICATE_MALFORMED",
  CERTIFICATE_ALGORITHM_MIXED: "CERTIFICATE_CHAIN_INVALID",
  CERTIFICATE_ALGORITHM_UNSUPPORTED: "CERTIFICATE_CHAIN_INVALID",
  CERTIFICATE_UNTRUSTED: "CERTIFICATE_UNTRUSTED",
  CERTIFICATE_EXPIRED: "CERTIFICATE_EXPIRED",
  CERTIFICATE_NOT_YET_VALID: "CERTIFICATE_NOT_YET_VALID",
  CERTIFICATE_NOT_A_CA: "CERTIFICATE_CHAIN_INVALID",
  CERTIFICATE_PATH_TOO_LONG: "CERTIFICATE_CHAIN_INVALID",
  CERTIFICATE_KEY_USAGE: "CERTIFICATE_KEY_USAGE",
  CERTIFICATE_CRITICAL_EXTENSION: "CERTIFICATE_CHAIN_INVALID",
} as const satisfies Record<PathReason, Reason>;

const identityReasons = {
  CERTIFICATE_IDENTITY_ABSENT: "CERTIFICATE_IDENTITY_ABSENT",
  // What cannot be read identifies nobody.
  CERTIFICATE_IDENTITY_MALFORMED: "CERTIFICATE_IDENTITY_ABSENT",
  CERTIFICATE_IDENTITY_CONFLICT: "CERTIFICATE_IDENTITY_CONFLICT",
} as const satisfies Record<IdentityReason, Reason>;

export type PathFound =
  | { readonly ok: true; readonly profile: CaProfile; readonly path: readonly Certificate[] }
  | { readonly ok: false; readonly reason: Reason };

/**
 * The path to the anchors of one configured CA (NI-35): each CA is tried with its own intermediates and anchors only, so
 * that no chain crosses from one to another. A CA that publishes its issuing certificates issues by no others: what a
 * holder sends beside his own leads nowhere, so that a cross-signature by another CA does not make it that CA's. Where
 * none leads there, the reason of the CA that came furthest.
 */
export function findPath(certificates: readonly Uint8Array[], profiles: readonly CaProfile[], at: Date): PathFound {
  const [leaf = new Uint8Array(), ...sent] = certificates;
  let reason: Reason = "CERTIFICATE_UNTRUSTED";
  for (const profile of profiles) {
    const result = checkPath(leaf, profile.intermediates.length > 0 ? profile.intermediates : sent, profile, at);
    if (result.ok) return { ok: true, profile, path: result.path };
    if (reason === "CERTIFICATE_UNTRUSTED") reason = reasonFor(result.reason, checkPath(leaf, sent, profile, at));
  }
  return { ok: false, reason: profiles.length === 0 && isMalformed(leaf) ? "CERTIFICATE_MALFORMED" : reason };
}

function checkPath(leaf: Uint8Array, intermediates: readonly Uint8Array[], profile: CaProfile, at: Date): PathResult {
  return buildAndCheckPath({
    leaf,
    intermediates,
    anchors: profile.anchors,
    at,
    purpose: "SUBJECT_SIGNATURE",
    recognisedExtensions: profile.identity.extensions.map(({ oid }) => oid),
  });
}

/** What is wrong, told by the chain that was sent where the published one does not reach the certificate. */
function reasonFor(reason: PathReason, sent: PathResult): Reason {
  return pathReasons[reason === "CERTIFICATE_UNTRUSTED" && !sent.ok ? sent.reason : reason];
}

function isMalformed(leaf: Uint8Array): boolean {
  try {
    parseCertificate(leaf);
    return false;
  } catch {
    return true;
  }
}

/** Whether the certificate's key signed the message. */
export function isHeld(certificate: Certificate, message: Uint8Array, proof: CertificateProof): boolean {
  const { signature, format } = proof;
  const held = verifyPossession({
    certificate,
    signedBytes: message,
    signature,
    format: format === SignatureFormat.PKCS7 ? "pkcs7" : "raw",
  });
  return held.ok;
}

export type Holder = { readonly case: "citizenId" | "uscc"; readonly value: string };

/**
 * The one identifier that the certificate gives, normalised and with its check character computed. Undefined when
 * there is none that holds; "CONFLICT" when it names both a person and an organisation.
 */
function holderOf(
  fields: Readonly<Partial<Record<string, string>>>,
  options: { readonly nowMs: number; readonly allowFictional: boolean },
): Holder | "CONFLICT" | undefined {
  const { personId, uscc } = fields;
  if (personId !== undefined && uscc !== undefined) return "CONFLICT";
  if (personId !== undefined) {
    const parsed = parseCitizenId(personId, {
      today: dayInChina(options.nowMs),
      allowFictional: options.allowFictional,
    });
    return parsed.ok ? { case: "citizenId", value: parsed.value.number } : undefined;
  }
  const parsed = parseUscc(uscc ?? "", { allowFictional: options.allowFictional });
  return parsed.ok ? { case: "uscc", value: parsed.value.code } : undefined;
}

export type Identified =
  | { readonly ok: true; readonly holder: Holder; readonly name: string }
  | { readonly ok: false; readonly reason: Reason };

/** Whose the certificate is, as its CA's profile reads it. */
export function identify(
  leaf: Certificate,
  profile: CaProfile,
  options: { readonly nowMs: number; readonly allowFictional: boolean },
): Identified {
  const read = readIdentity(leaf, profile);
  if (!read.ok) return { ok: false, reason: identityReasons[read.reason] };
  const { fields, name, organisation } = read.identity;
  const holder = holderOf(fields, options);
  if (holder === "CONFLICT") return { ok: false, reason: "CERTIFICATE_IDENTITY_CONFLICT" };
  if (holder === undefined) return { ok: false, reason: "CERTIFICATE_IDENTITY_ABSENT" };
  return { ok: true, holder, name: holder.case === "uscc" ? (organisation ?? name) : name };
}
