/** Which configured CA a certificate belongs to, and how its refusals are told. Pure. */
import {
  buildAndCheckPath,
  type CaProfile,
  type Certificate,
  type IdentityReason,
  type PathReason,
  parseCertificate,
} from "@fujie/certificates";
import { parseCitizenId, parseUscc } from "@fujie/identity";
import type { Reason } from "@fujie/kit/errors";
import { dayInChina } from "../../claims/rules.ts";

/** Reasons of the package as the catalogue's. */
export const pathReasons = {
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

export const identityReasons = {
  CERTIFICATE_IDENTITY_ABSENT: "CERTIFICATE_IDENTITY_ABSENT",
  // What cannot be read identifies nobody.
  CERTIFICATE_IDENTITY_MALFORMED: "CERTIFICATE_IDENTITY_ABSENT",
  CERTIFICATE_IDENTITY_CONFLICT: "CERTIFICATE_IDENTITY_CONFLICT",
} as const satisfies Record<IdentityReason, Reason>;

export type PathFound =
  | { readonly ok: true; readonly profile: CaProfile; readonly path: readonly Certificate[] }
  | { readonly ok: false; readonly reason: Reason };

/** Of buildAndCheckPath. */
const INTERMEDIATES_MAX = 8;

/**
 * The path to the anchors of one configured CA (NI-35): each CA is tried with its own intermediates and anchors only, so
 * that no chain crosses from one to another. Where none leads there, the reason of the CA that came furthest.
 */
export function findPath(certificates: readonly Uint8Array[], profiles: readonly CaProfile[], at: Date): PathFound {
  const [leaf = new Uint8Array(), ...sent] = certificates;
  let reason: Reason = "CERTIFICATE_UNTRUSTED";
  for (const profile of profiles) {
    const result = buildAndCheckPath({
      leaf,
      intermediates: withPublished(sent, profile),
      anchors: profile.anchors,
      at,
      purpose: "SUBJECT_SIGNATURE",
      recognisedExtensions: profile.identity.extensions.map(({ oid }) => oid),
    });
    if (result.ok) return { ok: true, profile, path: result.path };
    if (reason === "CERTIFICATE_UNTRUSTED") reason = pathReasons[result.reason];
  }
  return { ok: false, reason: profiles.length === 0 && isMalformed(leaf) ? "CERTIFICATE_MALFORMED" : reason };
}

function isMalformed(leaf: Uint8Array): boolean {
  try {
    parseCertificate(leaf);
    return false;
  } catch {
    return true;
  }
}

function withPublished(sent: readonly Uint8Array[], { intermediates }: CaProfile): Uint8Array[] {
  const known = new Set(sent.map((der) => Buffer.from(der).toString("base64")));
  const missing = intermediates.filter((der) => !known.has(Buffer.from(der).toString("base64")));
  return [...sent, ...missing].slice(0, Math.max(sent.length, INTERMEDIATES_MAX));
}

export type Holder = { readonly case: "citizenId" | "uscc"; readonly value: string };

/**
 * The one identifier that the certificate gives, normalised and with its check character computed. Undefined when
 * there is none that holds; "CONFLICT" when it names both a person and an organisation.
 */
export function holderOf(
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
