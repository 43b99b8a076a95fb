import { timingSafeEqual } from "node:crypto";
import type { Acceptance } from "@fujie/api/fujie/registry/v1/registrations";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { type Agreement, agreementAt } from "./agreements/index.ts";

/** What is kept of an acceptance: which text, its digest, and when (SZ-14.1, NI-13). */
export interface AcceptedTerms {
  readonly agreementVersion: string;
  readonly agreementSha256: Uint8Array;
  readonly noticeVersion: string;
  readonly acceptedAt: Date;
}

/**
 * Checks that the texts in force now were accepted, before anything personal is looked at.
 * Throws AGREEMENT_NOT_ACCEPTED, AGREEMENT_VERSION_UNKNOWN, NOTICE_NOT_ACKNOWLEDGED.
 */
export function requireAcceptance(acceptance: Acceptance | undefined, nowMs: number): AcceptedTerms {
  const agreement = agreementAt(nowMs);
  const { agreementVersion = "", agreementSha256 = new Uint8Array(), noticeVersion = "" } = acceptance ?? {};
  if (agreementVersion === "" || agreementSha256.length === 0) throw new DomainError("AGREEMENT_NOT_ACCEPTED");
  if (agreementVersion !== agreement.version) {
    throw fieldError("AGREEMENT_VERSION_UNKNOWN", "acceptance.agreement_version", "is not the version in force");
  }
  if (!isDigestOf(agreement, agreementSha256)) throw new DomainError("AGREEMENT_NOT_ACCEPTED");
  if (noticeVersion !== agreement.noticeVersion) throw new DomainError("NOTICE_NOT_ACKNOWLEDGED");
  return { agreementVersion, agreementSha256: agreement.sha256, noticeVersion, acceptedAt: new Date(nowMs) };
}

function isDigestOf({ sha256 }: Agreement, digest: Uint8Array): boolean {
  return digest.length === sha256.length && timingSafeEqual(digest, sha256);
}
