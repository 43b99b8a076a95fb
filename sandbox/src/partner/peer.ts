import type { PeerCertificate } from "node:tls";

/** The only caller that the partner knows. */
export const PLATFORM_URI = "spiffe://fujie/trust-gateway";

/**
 * Whether a client certificate, whose chain TLS has verified, is the platform's gateway: it must name that URI and no
 * other. Names that need quoting are refused whole, because a quoted name may hold what looks like a second one.
 */
export function isPlatform(certificate: Pick<PeerCertificate, "subjectaltname"> | undefined): boolean {
  const names = certificate?.subjectaltname ?? "";
  if (names.includes('"')) return false;
  const uris = names.split(", ").filter((name) => name.startsWith("URI:"));
  return uris.length === 1 && uris[0] === `URI:${PLATFORM_URI}`;
}
