/** The OCSP responder of a sandbox CA (RFC 6960): a delegated one, with its own key, echoing nonces. */
import {
  type Certificate,
  type CertificateId,
  certificateId,
  OID_OCSP_NONCE,
  REVOCATION_REASONS,
  type Revocation,
  readOcspRequest,
  sameCertificateId,
  writeCertificateId,
} from "@fujie/certificates";
import {
  contextConstructed,
  contextPrimitive,
  DerError,
  der,
  derBits,
  derOctets,
  derOid,
  derSequence,
  derTime,
  TAG,
} from "@fujie/certificates/der";
import type { LedgerEntry } from "./authority.ts";
import { ALGORITHM_OIDS, type PrivateKey, signBytes } from "./private-key.ts";

const RESPONSE_LIFE_MS = 5 * 60_000;
const OID_BASIC = "1.3.6.1.5.5.7.48.1.1";
const MALFORMED_REQUEST = 1;
const IDS_MAX = 16;

export type ResponderState = {
  readonly issuer: Certificate;
  readonly ledger: ReadonlyMap<string, LedgerEntry>;
  readonly responder: { readonly certificate: Certificate; readonly key: PrivateKey };
  readonly at: Date;
};

/** Answers a request. Bytes that are no request get the `malformedRequest` answer, which is not signed. */
export function answerOcspRequest(bytes: Uint8Array, state: ResponderState): Uint8Array {
  const request = readRequest(bytes);
  if (request === undefined) return derSequence(der(TAG.enumerated, Uint8Array.of(MALFORMED_REQUEST)));
  const { certificate, key } = state.responder;
  const { nonce } = request;
  const tbs = derSequence(
    der(contextConstructed(1), certificate.subject.der),
    derTime(state.at),
    derSequence(...request.ids.map((id) => singleResponse(id, state))),
    ...(nonce === undefined ? [] : [der(contextConstructed(1), derSequence(nonceExtension(nonce)))]),
  );
  const basic = derSequence(
    tbs,
    derSequence(derOid(ALGORITHM_OIDS[key.kind].signature)),
    derBits(signBytes(key, tbs)),
    der(contextConstructed(0), derSequence(certificate.der)),
  );
  const body = derSequence(derOid(OID_BASIC), derOctets(basic));
  return derSequence(der(TAG.enumerated, Uint8Array.of(0)), der(contextConstructed(0), body));
}

function readRequest(bytes: Uint8Array): { ids: CertificateId[]; nonce: Uint8Array | undefined } | undefined {
  try {
    const { ids, nonce } = readOcspRequest(bytes);
    const known = ids.filter((id) => id !== undefined);
    return known.length === ids.length && ids.length > 0 && ids.length <= IDS_MAX ? { ids: known, nonce } : undefined;
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

function singleResponse(id: CertificateId, { issuer, ledger, at }: ResponderState): Uint8Array {
  const ours = sameCertificateId(id, certificateId(id, issuer, id.hash));
  return derSequence(
    writeCertificateId(id),
    certificateStatus(ours ? ledger.get(id.serial) : undefined),
    derTime(at),
    der(contextConstructed(0), derTime(new Date(at.getTime() + RESPONSE_LIFE_MS))),
  );
}

function certificateStatus(entry: LedgerEntry | undefined): Uint8Array {
  if (entry === undefined) return der(contextPrimitive(2));
  return entry.revoked === undefined ? der(contextPrimitive(0)) : revokedStatus(entry.revoked);
}

function revokedStatus({ at, reason }: Revocation): Uint8Array {
  const code = REVOCATION_REASONS.indexOf(reason);
  return der(contextConstructed(1), derTime(at), der(contextConstructed(0), der(TAG.enumerated, Uint8Array.of(code))));
}

const nonceExtension = (nonce: Uint8Array): Uint8Array =>
  derSequence(derOid(OID_OCSP_NONCE), derOctets(derOctets(nonce)));
