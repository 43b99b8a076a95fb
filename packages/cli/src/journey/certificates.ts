import { SignatureFormat } from "@fujie/api/fujie/trust/v1/certificate";
import { certificatesFromPem } from "@fujie/certificates";
import { type CaKind, signPossession } from "@fujie/sandbox/ca";
import { JourneyError } from "./expect.ts";

/** A certificate of a sandbox CA with its key: what a person would carry on a USB key. */
export interface Credential {
  readonly caId: "ca-ecdsa" | "ca-sm2";
  readonly certPem: string;
  readonly chainPem: string;
  readonly keyPem: string;
}

/** Applies for a certificate at a sandbox CA. */
export async function applyForCertificate(
  sandboxUrl: string,
  caId: Credential["caId"],
  subject: { kind: "person" | "organisation" | "operator"; name: string; identifier: string },
): Promise<Credential> {
  const response = await fetch(`${sandboxUrl}/ca/${caId}/issue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(subject),
  });
  if (!response.ok) throw new JourneyError(`the CA refused: ${await response.text()}`);
  const issued = (await response.json()) as Omit<Credential, "caId">;
  return { caId, certPem: issued.certPem, chainPem: issued.chainPem, keyPem: issued.keyPem };
}

/** DER certificates, the holder's first, without repeats. */
export function certificatesOf({ certPem, chainPem }: Credential): Uint8Array<ArrayBuffer>[] {
  const seen = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const der of certificatesFromPem(`${certPem}\n${chainPem}`)) {
    seen.set(Buffer.from(der).toString("base64"), Uint8Array.from(der));
  }
  return [...seen.values()];
}

export function signWith({ caId, keyPem }: Credential, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const kind: CaKind = caId === "ca-sm2" ? "sm2" : "ecdsa";
  return Uint8Array.from(signPossession({ keyPem, kind, bytes, format: "raw" }));
}

/** A fujie.trust.v1.CertificateProof: the certificate, and its signature over the message. */
export function proofOf(credential: Credential, message: Uint8Array) {
  return {
    certificates: certificatesOf(credential),
    signature: signWith(credential, message),
    format: SignatureFormat.RAW,
  };
}
