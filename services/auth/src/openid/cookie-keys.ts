import { timingSafeEqual } from "node:crypto";
import type { KeyRing } from "@fujie/kit/keys";

/** Cookie signatures under the ring's cookie key, in the shape that the cookies library asks for. */
export function cookieKeys(ring: Pick<KeyRing, "hmac" | "hmacAll">) {
  const index = (data: string, digest: string): number => {
    const offered = Buffer.from(digest, "base64url");
    // Every version is tried, so that the time does not tell which one fitted.
    const fits = ring.hmacAll("cookie", data).map((made) => sameBytes(made.digest, offered));
    return fits.indexOf(true);
  };
  return {
    sign: (data: string) => ring.hmac("cookie", data).digest.toString("base64url"),
    index,
    verify: (data: string, digest: string) => index(data, digest) >= 0,
  };
}

function sameBytes(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
