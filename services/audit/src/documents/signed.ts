import { createHash } from "node:crypto";
import type { KeyedSignature, KeyRing } from "@fujie/kit/keys";

/** What audit signs with its key for documents; each kind has its own tag, so that none passes for another. */
export type DocumentKind = "incident-report" | "release" | "evidence-pack";

/** The bytes under a document's signature: "fujie.audit.<kind>.v1", a zero byte, the document. */
export function signedBytes(kind: DocumentKind, document: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`fujie.audit.${kind}.v1\0`), document]);
}

export function signDocument(
  ring: Pick<KeyRing, "sign">,
  kind: DocumentKind,
  document: Uint8Array,
): Promise<KeyedSignature> {
  return ring.sign("report", signedBytes(kind, document));
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
