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
  type CertificateProof,
  SignatureFormat,
  Verdict,
  type VerifyCertificateRequest,
  type VerifyCertificateResponse,
  VerifyCertificateResponseSchema,
} from "@fujie/api/fujie/trust/v1/evidence";
import { type Certificate, checkRevocation, readIdentity, verifyPossession } from "@fujie/certificates";
import { canonicalIdentifier } from "@fujie/identity";
import { transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { putEvidence } from "../evidence/store.ts";
import type { Authority } from "../sources/certificate-authority/adapter.ts";
import { findPath, type Holder, holderOf, identityReasons } from "../sources/certificate-authority/rules.ts";
import { raiseCrlNumbers, readCrlNumbers } from "./store.ts";

type Needed = Pick<Context, "environment" | "clock" | "db" | "ring" | "policy" | "sources" | "periods">;

export async function verifyCertificate(
  context: Needed,
  request: VerifyCertificateRequest,
  call: HandlerContext,
): Promise<VerifyCertificateResponse> {
  const { message, proof } = request;
  if (proof === undefined) throw new DomainError("SIGNATURE_INVALID");
  const { authority, path, leaf } = await anchor(context, proof.certificates);
  requirePossession(leaf, message, proof);
  const crlNumbers = await requireGood(context, authority, path);
  const { holder, name } = identify(context, authority, leaf);
  return record(context, call, { authority, leaf, holder, name, crlNumbers });
}

interface Anchored {
  readonly authority: Authority;
  readonly path: readonly Certificate[];
  readonly leaf: Certificate;
}

async function anchor({ policy, sources, clock }: Needed, certificates: readonly Uint8Array[]): Promise<Anchored> {
  const { enabledSources } = await policy.current();
  const enabled = sources.authorities.filter(({ id }) => enabledSources.has(id));
  const profiles = enabled.map(({ profile }) => profile);
  const found = findPath(certificates, profiles, new Date(clock.nowMs()));
  if (!found.ok) throw new DomainError(found.reason);
  const authority = enabled.find(({ profile }) => profile === found.profile);
  const [leaf] = found.path;
  if (authority === undefined || leaf === undefined) throw new Error("a path without its CA or leaf");
  return { authority, path: found.path, leaf };
}

function requirePossession(certificate: Certificate, message: Uint8Array, proof: CertificateProof): void {
  const { signature, format } = proof;
  const held = verifyPossession({
    certificate,
    signedBytes: message,
    signature,
    format: format === SignatureFormat.PKCS7 ? "pkcs7" : "raw",
  });
  if (!held.ok) throw new DomainError("SIGNATURE_INVALID");
}

/** Throws CERTIFICATE_REVOKED and CERTIFICATE_STATUS_UNKNOWN; gives the list numbers to remember. */
async function requireGood(
  { clock, db }: Needed,
  { profile, fetchState }: Authority,
  path: readonly Certificate[],
): Promise<ReadonlyMap<string, bigint>> {
  const issuers = path.slice(1).map(({ fingerprint }) => fingerprint);
  const [state, crlNumbers] = await Promise.all([fetchState(path), readCrlNumbers(db, issuers)]);
  const result = checkRevocation({
    path,
    at: new Date(clock.nowMs()),
    policy: profile.revocation,
    ...state,
    crlNumbers,
  });
  if (!result.ok) throw new DomainError(result.reason);
  return result.crlNumbers;
}

function identify(
  { environment, clock }: Needed,
  { profile }: Authority,
  leaf: Certificate,
): { holder: Holder; name: string } {
  const read = readIdentity(leaf, profile);
  if (!read.ok) throw new DomainError(identityReasons[read.reason]);
  const { fields, name, organisation } = read.identity;
  const holder = holderOf(fields, { nowMs: clock.nowMs(), allowFictional: environment === "sandbox" });
  if (holder === "CONFLICT") throw new DomainError("CERTIFICATE_IDENTITY_CONFLICT");
  if (holder === undefined) throw new DomainError("CERTIFICATE_IDENTITY_ABSENT");
  return { holder, name: holder.case === "uscc" ? (organisation ?? name) : name };
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
    await putEvidence(tx, ring, row, nowMs + periods.keepMs);
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
