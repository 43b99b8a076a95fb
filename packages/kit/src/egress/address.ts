import { BlockList, isIPv4, isIPv6 } from "node:net";

/**
 * What IANA's special-purpose registries (RFC 6890 and later) do not call globally reachable, and multicast: none of
 * it is a place on the Internet that somebody else may have us call.
 */
const closedV4 = blockList("ipv4", [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.31.196.0", 24],
  ["192.52.193.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["192.175.48.0", 24],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
]);

/** Of IPv6 only global unicast is open, and of that not what carries an IPv4 address inside or is special. */
const openV6 = blockList("ipv6", [["2000::", 3]]);
const closedV6 = blockList("ipv6", [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["2620:4f:8000::", 48],
  ["3fff::", 20],
]);

/** Whether an address in textual form is a public one. IPv4-mapped, NAT64 and other embedded addresses are not. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !closedV4.check(address, "ipv4");
  // A zone ("fe80::1%eth0") is local by itself.
  return isIPv6(address) && !address.includes("%") && openV6.check(address, "ipv6") && !closedV6.check(address, "ipv6");
}

function blockList(family: "ipv4" | "ipv6", subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of subnets) list.addSubnet(network, prefix, family);
  return list;
}
