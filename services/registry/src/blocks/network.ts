import { isIP } from "node:net";
import { fieldError } from "@fujie/kit/errors";

/** The network in the form in which it is kept. Throws FIELD_INVALID; the gateway reads it the same way. */
export function requireNetwork(text: string): string {
  const [address = "", prefix = "", ...rest] = text.trim().toLowerCase().split("/");
  const family = isIP(address);
  const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  if (family !== 0 && !address.includes("%") && rest.length === 0 && bits >= 1 && bits <= (family === 4 ? 32 : 128)) {
    return `${address}/${bits}`;
  }
  throw fieldError("FIELD_INVALID", "network", "is no network like 203.0.113.0/24");
}
