/**
 * Who holds a certificate's key now (SZ-13.1, NI-35). The order of the steps is the argument:
 *
 *   path to one configured CA's anchors ─▶ signature over the challenge ─▶ revocation ─▶ identity extension ─▶ evidence
 *
 * Nothing is fetched for a certificate before it is anchored and its key has signed, and only from the CA's configured
 * addresses. A state that cannot be learned is a failure.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  Verdict,
  type VerifyCertificateRequest,
  type VerifyCertificateResponse,
  VerifyCertificateResponseSchema,
} from "@fujie/api/fujie/trust/v1/evidence";
import type { Certificate } from "@fujie/certificates";
import { canonicalIdentifier } from "@fujie/identity";
import { transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { putEvidence } from "../evidence/store.ts";
import type { Authority } from "../sources/certificate-authority/adapter.ts";
import { findPath, type Holder, identify, isHeld } from "../sources/certificate-authority/rules.ts";
import { raiseCrlNumbers } from "./store.ts";

type Needed = Pick<Context, "environment" | "clock" | "db" | "ring" | "policy" | "sources" | "periods">;

export async function verifyCertificate(
  context: Needed,
  request: VerifyCertificateRequest,
  call: HandlerContext,
): Promise<VerifyCertificateResponse> {
  const { message, proof } = request;
  if (proof === undefined) throw new DomainError("SIGNATURE_INVALID");
  const { authority, path, leaf } = await anchor(context, proof.certificates);
  if (!isHeld(leaf, message, proof)) throw new DomainError("SIGNATURE_INVALID");
  const crlNumbers = await requireGood(authority, path);
  const allowFictional = context.environment === "sandbox";
  const identified = identify(leaf, authority.profile, { nowMs: context.clock.nowMs(), allowFictional });
  if (!identified.ok) throw new DomainError(identified.reason);
  const { holder, name } = identified;
  return record(context, call, { authority, leaf, holder, name, crlNumbers });
}

interface Anchored {
  readonly authority: Authority;
  readonly path: readonly Certificate[];
  readonly leaf: Certificate;
}

/** Throws what is wrong with a certificate that no enabled CA's path leads from, before anything is asked. */
export async function requireAnchored(
  context: Pick<Context, "policy" | "sources" | "clock">,
  certificates: readonly Uint8Array[],
): Promise<void> {
  await anchor(context, certificates);
}

async function anchor(
  { policy, sources, clock }: Pick<Context, "policy" | "sources" | "clock">,
  certificates: readonly Uint8Array[],
): Promise<Anchored> {
  const { enabledSources } = await policy.current();
  const profiles = sources.authorities.map(({ profile }) => profile);
  const found = findPath(certificates, profiles, new Date(clock.nowMs()));
  if (!found.ok) throw new DomainError(found.reason);
  const authority = sources.authorities.find(({ profile }) => profile === found.profile);
  const [leaf] = found.path;
  if (authority === undefined || leaf === undefined) throw new Error("a path without its CA or leaf");
  // Looked at last: a suspended CA's certificate does not become another's that has cross-signed it.
  if (!enabledSources.has(authority.id)) throw new DomainError("CERTIFICATE_UNTRUSTED");
  return { authority, path: found.path, leaf };
}

/** Throws CERTIFICATE_REVOKED and CERTIFICATE_STATUS_UNKNOWN; gives the list numbers to remember. */
async function requireGood(authority: Authority, path: readonly Certificate[]): Promise<ReadonlyMap<string, bigint>> {
  const result = await authority.revocationOf(path);
  if (!result.ok) throw new DomainError(result.reason);
  return result.crlNumbers;
}

interface Verified {
  readonly authority: Authority;
  readonly leaf: Certificate;
  readonly holder: Holder;
  readonly name: string;
  readonly crlNumbers: ReadonlyMap<string, bigint>;
}

async function record(
  context: Needed,
  call: HandlerContext,
  { authority, leaf, holder, name, crlNumbers }: Verified,
): Promise<VerifyCertificateResponse> {
  const { clock, db, ring, periods } = context;
  const nowMs = clock.nowMs();
  const kind = holder.case === "citizenId" ? "citizen-id" : "uscc";
  const row = {
    evidenceId: uuidv7(nowMs),
    sourceId: authority.id,
    verdict: "MATCH",
    level: authority.level,
    checkedAtMs: nowMs,
    subjectDigest: ring.hmac("blind-index", `${kind}:${canonicalIdentifier(kind, holder.value)}`).digest,
  } as const;
  await transaction(db, async (tx) => {
    putEvidence(tx, ring, [row], nowMs + periods.keepMs);
    await raiseCrlNumbers(tx, crlNumbers);
    const details = { evidence_id: row.evidenceId, ca: authority.id, holder: kind };
    await recordEvent(context, tx, call, { type: "certificate.verified", outcome: "SUCCESS", details });
  });
  return create(VerifyCertificateResponseSchema, {
    caId: authority.id,
    fingerprint: new Uint8Array(Buffer.from(leaf.fingerprint, "hex")),
    identifier: holder,
    name,
    expireTime: timestampFromDate(leaf.notAfter),
    evidence: {
      evidenceId: row.evidenceId,
      sourceId: row.sourceId,
      verdict: Verdict.MATCH,
      level: row.level,
      checkTime: timestampFromMs(nowMs),
    },
  });
}
