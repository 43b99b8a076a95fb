/** Where a call comes from: the address of the connection, or the one that trusted proxies in front of us report. */
import { BlockList, isIP, isIPv4 } from "node:net";

/** Which proxies' word is taken for where a call comes from. */
export interface TrustedProxies {
  has(address: string): boolean;
}

export const noProxies: TrustedProxies = { has: () => false };

/** Reads networks in CIDR form ("10.0.0.0/8") or addresses, separated by commas. Throws RangeError naming the wrong one. */
export function readTrustedProxies(text: string): TrustedProxies {
  const list = new BlockList();
  for (const entry of text.split(",").map((each) => each.trim())) addNetwork(list, entry);
  return {
    has: (address) => {
      const family = familyOf(address);
      return family !== undefined && list.check(address, family);
    },
  };
}

function addNetwork(list: BlockList, entry: string): void {
  const [address = "", prefix, ...rest] = entry.split("/");
  const family = familyOf(address);
  const bits = prefix === undefined ? undefined : Number(prefix);
  const bitsMax = family === "ipv4" ? 32 : 128;
  const isSound = bits === undefined || (/^\d{1,3}$/.test(prefix ?? "") && bits <= bitsMax);
  if (family === undefined || !isSound || rest.length > 0) throw new RangeError(`"${entry}" is no network`);
  if (bits === undefined) list.addAddress(address, family);
  else list.addSubnet(address, bits, family);
}

/**
 * The caller's address: the last one of X-Forwarded-For that is no trusted proxy's own, read only where a trusted proxy
 * connects. What stands before it may be anybody's invention.
 */
export function callerAddress(
  connected: string | undefined,
  forwardedFor: string | undefined,
  proxies: TrustedProxies,
): string | undefined {
  const hops = [...(forwardedFor ?? "").split(",").map((hop) => hop.trim()), connected ?? ""].map(plainAddress);
  for (let i = hops.length - 1; i >= 0; i -= 1) {
    const hop = hops[i] ?? "";
    if (isIP(hop) === 0) return undefined;
    if (!proxies.has(hop)) return hop;
  }
  return undefined;
}

/** The network of an address: /24 of IPv4, /48 of IPv6, as text; one household or office is seldom more. */
export function networkOfAddress(address: string): string | undefined {
  const plain = plainAddress(address);
  const family = familyOf(plain);
  if (family === undefined) return undefined;
  if (family === "ipv4") return `${plain.split(".").slice(0, 3).join(".")}.0/24`;
  return `${groupsOf(plain).slice(0, 3).join(":")}::/48`;
}

/** An IPv4 address inside IPv6 is that address; a zone says nothing to others. */
function plainAddress(address: string): string {
  const unzoned = address.split("%", 1)[0] ?? "";
  const mapped = /^::ffff:(?<v4>\d+\.\d+\.\d+\.\d+)$/i.exec(unzoned)?.groups?.["v4"];
  return mapped !== undefined && isIPv4(mapped) ? mapped : unzoned;
}

function familyOf(address: string): "ipv4" | "ipv6" | undefined {
  const family = isIP(address);
  return family === 0 ? undefined : family === 4 ? "ipv4" : "ipv6";
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): string[] {
  const [head = "", tail] = address.split("::", 2);
  const groups = (part: string) => (part === "" ? [] : part.split(":"));
  const [left, right] = [groups(head), groups(tail ?? "")];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...Array.from({ length: zeros }, () => "0"), ...right].map((group) =>
    group.toLowerCase().replace(/^0+(?=.)/, ""),
  );
}
