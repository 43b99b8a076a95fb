/**
 * The status of a whole path, failing closed: every certificate below the anchor needs fresh, verified, positive
 * evidence. No evidence is not good news.
 */
import type { RevocationPolicy } from "./ca-profile.ts";
import type { Certificate } from "./certificate.ts";
import { type CrlReason, checkCrl, findRevocation, type RevocationReason } from "./crl.ts";
import { checkOcspResponse, type OcspReason } from "./ocsp.ts";

export type RevocationInput = {
  /** From `buildAndCheckPath`: leaf first, anchor last. */
  readonly path: readonly Certificate[];
  readonly at: Date;
  readonly policy: Pick<RevocationPolicy, "ocspAgeMaxMs" | "crlAgeMaxMs">;
  /** DER of every list that could be had, in any order. */
  readonly crls: readonly Uint8Array[];
  /** The answer about the leaf, with the nonce that was sent. */
  readonly ocsp?: { readonly response: Uint8Array; readonly nonce: Uint8Array | undefined };
  /** The highest CRL number seen, by the issuer's fingerprint. */
  readonly crlNumbers?: ReadonlyMap<string, bigint>;
};

export type RevocationResult =
  /** `crlNumbers`, by the issuer's fingerprint, are to be remembered for the next check. */
  | { readonly ok: true; readonly crlNumbers: ReadonlyMap<string, bigint> }
  | {
      readonly ok: false;
      readonly reason: "CERTIFICATE_REVOKED";
      readonly revocation: RevocationReason;
      readonly at: Date;
    }
  | {
      readonly ok: false;
      readonly reason: "CERTIFICATE_STATUS_UNKNOWN";
      /** Why the evidence that was there did not count. */
      readonly causes: readonly (OcspReason | CrlReason)[];
    };

type Status = {
  readonly revocation?: { readonly at: Date; readonly reason: RevocationReason };
  readonly known: boolean;
};

/** Checks every certificate of the path but the anchor. One verified revocation outweighs any other evidence. */
export function checkRevocation(input: RevocationInput): RevocationResult {
  const crlNumbers = new Map<string, bigint>();
  const causes: (OcspReason | CrlReason)[] = [];
  let unknown = false;
  for (const [index, certificate] of input.path.slice(0, -1).entries()) {
    const issuer = input.path[index + 1];
    if (issuer === undefined) break;
    const byList = statusByCrl(input, certificate, issuer, crlNumbers, causes);
    const byResponder = index === 0 ? statusByOcsp(input, certificate, issuer, causes) : { known: false };
    const revocation = byList.revocation ?? byResponder.revocation;
    if (revocation !== undefined) {
      return { ok: false, reason: "CERTIFICATE_REVOKED", revocation: revocation.reason, at: revocation.at };
    }
    unknown ||= !byList.known && !byResponder.known;
  }
  return unknown ? { ok: false, reason: "CERTIFICATE_STATUS_UNKNOWN", causes } : { ok: true, crlNumbers };
}

function statusByOcsp(
  { ocsp, at, policy }: RevocationInput,
  certificate: Certificate,
  issuer: Certificate,
  causes: (OcspReason | CrlReason)[],
): Status {
  if (ocsp === undefined) return { known: false };
  const checked = checkOcspResponse({ ...ocsp, certificate, issuer, at, ageMaxMs: policy.ocspAgeMaxMs });
  if (!checked.ok) causes.push(checked.reason);
  if (!checked.ok) return { known: false };
  return checked.revocation === undefined ? { known: true } : { known: true, revocation: checked.revocation };
}

function statusByCrl(
  { crls, at, policy, crlNumbers }: RevocationInput,
  certificate: Certificate,
  issuer: Certificate,
  numbers: Map<string, bigint>,
  causes: (OcspReason | CrlReason)[],
): Status {
  const numberMin = crlNumbers?.get(issuer.fingerprint);
  let known = false;
  for (const bytes of crls) {
    const checked = checkCrl({
      crl: bytes,
      issuer,
      at,
      ageMaxMs: policy.crlAgeMaxMs,
      ...(numberMin === undefined ? {} : { numberMin }),
    });
    if (!checked.ok) {
      if (checked.reason !== "CRL_WRONG_ISSUER") causes.push(checked.reason);
      continue;
    }
    const { number } = checked.crl;
    const seen = numbers.get(issuer.fingerprint);
    if (seen === undefined || number > seen) numbers.set(issuer.fingerprint, number);
    known = true;
    const revocation = findRevocation(checked.crl, certificate);
    if (revocation !== undefined) return { known, revocation };
  }
  return { known };
}
