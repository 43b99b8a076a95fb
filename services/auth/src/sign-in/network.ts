import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import type { KeyRing } from "@fujie/kit/keys";

/**
 * The network that a request comes from, for counting attempts: an IPv4 address, or the /64 of an IPv6 address, which
 * one household has to itself. `X-Forwarded-For` is believed only for as many entries, from the right, as there are
 * proxies of our own in front.
 */
export function networkOf(request: Pick<IncomingMessage, "headers" | "socket">, trustedProxies: number): string {
  const forwarded = [request.headers["x-forwarded-for"] ?? []].flat().join(",").split(",");
  const chain = [...forwarded.map((entry) => entry.trim()), request.socket.remoteAddress ?? ""];
  const address = chain.at(-1 - trustedProxies) ?? "";
  return toNetwork(address);
}

/** The network as counters name it: a keyed digest. */
export function networkKeyOf(
  { ring, trustedProxies }: { readonly ring: Pick<KeyRing, "hmac">; readonly trustedProxies: number },
  request: Pick<IncomingMessage, "headers" | "socket">,
): string {
  return ring.hmac("cache-key", `network:${networkOf(request, trustedProxies)}`).digest.toString("base64url");
}

function toNetwork(address: string): string {
  const mapped = address.replace(/^::ffff:(?=\d+\.)/i, "");
  if (isIP(mapped) === 4) return mapped;
  if (isIP(mapped) !== 6) return "unknown";
  const [head = "", tail = ""] = mapped.replace(/%.*$/, "").split("::");
  const before = head.split(":").filter((group) => group !== "");
  const after = tail.split(":").filter((group) => group !== "");
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => "0");
  const groups = mapped.includes("::") ? [...before, ...zeros, ...after] : before;
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
