/** What a platform asks a CA in production, and what alone is slow, limited and faulty on command. */
const REVOCATION_NOUNS = ["crl", "root-crl", "ocsp"];

export type CaPath = { readonly kind: "ecdsa" | "sm2"; readonly noun: string; readonly isRevocation: boolean };

/** Reads "/ca/ca-sm2/ocsp"; undefined for any other form. */
export function readCaPath(path: string): CaPath | undefined {
  const [, kind, noun] = /^\/ca\/ca-(ecdsa|sm2)\/([a-z.-]{1,32})$/.exec(path) ?? [];
  if ((kind !== "ecdsa" && kind !== "sm2") || noun === undefined) return undefined;
  return { kind, noun, isRevocation: REVOCATION_NOUNS.includes(noun) };
}
