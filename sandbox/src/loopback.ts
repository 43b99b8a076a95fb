import { isIP } from "node:net";

export type LoopbackAddress = { readonly host: string; readonly port: number };

/**
 * Reads "127.0.0.1:7052" or "[::1]:7052"; port 0 takes a free one. Throws RangeError for anything that other machines
 * could reach, names included: the sandbox issues certificates to anybody and must stay on this machine.
 */
export function readLoopbackAddress(text: string): LoopbackAddress {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? "";
  const port = Number(digits);
  if (!isLoopback(host) || port > 65_535 || digits === undefined) {
    throw new RangeError("not a loopback address with a port, like 127.0.0.1:7052");
  }
  return { host, port };
}

/** "127.0.0.1:7052" or "[::1]:7052". */
export function formatAddress({ host, port }: LoopbackAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether a Host header names this machine by loopback. */
export function isLoopbackHost(header: string): boolean {
  const host = header.replace(/:\d{1,5}$/, "");
  return host === "localhost" || isLoopback(host.replace(/^\[(.*)\]$/, "$1"));
}

function isLoopback(host: string): boolean {
  return host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
