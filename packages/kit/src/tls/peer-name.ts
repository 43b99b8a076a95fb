/**
 * Who a certificate names. Services have exactly one URI among their alternative names, `spiffe://fujie/<name>`
 * (SPIFFE X.509-SVID §2: a certificate with more than one URI is refused); host names prove nothing here.
 */

/** What node:tls and node:crypto both give of a certificate. */
export type NamedCertificate =
  | { readonly subjectAltName: string | undefined }
  | { readonly subjectaltname?: string | undefined };

export const TRUST_DOMAIN = "fujie";

const PEER_URI = /^spiffe:\/\/fujie\/([a-z][a-z0-9-]{0,62})$/;
/** One entry of the list; Node quotes a value that could be taken for more than one. */
const ENTRY = /([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

export function peerUri(name: string): string {
  return `spiffe://${TRUST_DOMAIN}/${name}`;
}

/**
 * "auth", "registry" …, or undefined when the certificate does not name exactly one service of the platform. Says
 * nothing about who issued it: ask only of a certificate that the TLS layer has verified against the platform's CA.
 */
export function peerNameFromCertificate(certificate: NamedCertificate): string | undefined {
  const list = "subjectAltName" in certificate ? certificate.subjectAltName : certificate.subjectaltname;
  const uris = urisOf(list ?? "");
  const [uri] = uris;
  return uris.length === 1 && uri !== undefined ? PEER_URI.exec(uri)?.[1] : undefined;
}

/** The URI entries, or none at all when the list is not entirely understood. */
function urisOf(list: string): readonly string[] {
  const uris: string[] = [];
  ENTRY.lastIndex = 0;
  let consumed = 0;
  for (let entry = ENTRY.exec(list); entry !== null; entry = ENTRY.exec(list)) {
    consumed = ENTRY.lastIndex;
    const [, kind, value] = entry;
    if (kind === "URI" && value !== undefined) uris.push(value);
    if (consumed === list.length) break;
  }
  return consumed === list.length ? uris : [];
}
