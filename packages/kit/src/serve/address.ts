import { isIP } from "node:net";

/** Where a listener listens. Port 0 takes a free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The host as URLs and targets want it: IPv6 in brackets. */
export function formatHost(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

/** Refuses clear text beyond loopback: whoever is on the network could read tokens and personal data. */
export function requireTls(listener: string, address: Address, hasTls: boolean): void {
  if (hasTls || isLoopbackHost(address.host)) return;
  throw new Error(`the ${listener} listener on ${address.host} has no TLS: clear text is for loopback only`);
}

function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
