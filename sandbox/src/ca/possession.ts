/** What a certificate client (a USB key's driver, a browser extension) does: sign the platform's challenge. */
import { createHash } from "node:crypto";
import { certificatesFromPem, type PossessionFormat, parseCertificate } from "@fujie/certificates";
import {
  contextConstructed,
  der,
  derInteger,
  derNull,
  derOctets,
  derOid,
  derSequence,
  derSetOf,
} from "@fujie/certificates/der";
import type { CaKind } from "./authority.ts";
import { ALGORITHM_OIDS, readPrivateKey, signBytes } from "./private-key.ts";

const OID_SIGNED_DATA = "1.2.840.113549.1.7.2";
const OID_DATA = "1.2.840.113549.1.7.1";
const OID_CONTENT_TYPE = "1.2.840.113549.1.9.3";
const OID_MESSAGE_DIGEST = "1.2.840.113549.1.9.4";

/**
 * Signs `bytes` with the key: a bare DER signature (raw) or a CMS SignedData with signed attributes (pkcs7), which
 * needs the signer's certificate. Throws `TypeError` when the key is not of `kind` or the certificate is missing.
 */
export function signPossession(input: {
  readonly keyPem: string;
  readonly kind: CaKind;
  readonly bytes: Uint8Array;
  readonly format: PossessionFormat;
  /** PEM of the signer's certificate; its chain may follow. For pkcs7. */
  readonly certPem?: string;
  /** For pkcs7: whether the content travels inside. Default: detached. */
  readonly attached?: boolean;
}): Uint8Array {
  const key = readPrivateKey(input.keyPem);
  if (key.kind !== input.kind) throw new TypeError(`the private key is not of kind ${input.kind}`);
  if (input.format === "raw") return signBytes(key, input.bytes);
  if (input.certPem === undefined) throw new TypeError("pkcs7 needs the signer's certificate");

  const [signer, ...chain] = certificatesFromPem(input.certPem).map(parseCertificate);
  if (signer === undefined) throw new TypeError("pkcs7 needs the signer's certificate");
  const oids = ALGORITHM_OIDS[input.kind];
  const digestAlgorithm = derSequence(derOid(oids.digest), ...(input.kind === "ecdsa" ? [] : [derNull()]));
  const attributes = derSetOf(
    derSequence(derOid(OID_CONTENT_TYPE), derSetOf(derOid(OID_DATA))),
    derSequence(derOid(OID_MESSAGE_DIGEST), derSetOf(derOctets(createHash(oids.hash).update(input.bytes).digest()))),
  );
  const signerInfo = derSequence(
    derInteger(1n),
    derSequence(signer.issuer.der, derInteger(BigInt(`0x${signer.serial}`))),
    digestAlgorithm,
    underTag(contextConstructed(0), attributes),
    derSequence(derOid(oids.signature)),
    derOctets(signBytes(key, attributes)),
  );
  const content = input.attached ? [der(contextConstructed(0), derOctets(input.bytes))] : [];
  const signedData = derSequence(
    derInteger(1n),
    derSetOf(digestAlgorithm),
    derSequence(derOid(OID_DATA), ...content),
    underTag(contextConstructed(0), derSetOf(...[signer, ...chain].map((certificate) => certificate.der))),
    derSetOf(signerInfo),
  );
  return derSequence(derOid(OID_SIGNED_DATA), der(contextConstructed(0), signedData));
}

/** The same encoding under an implicit tag. */
function underTag(tag: number, encoded: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(encoded);
  copy[0] = tag;
  return copy;
}
