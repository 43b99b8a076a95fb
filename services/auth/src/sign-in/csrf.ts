/** A form is only taken from the page that we sent for this interaction. */
import type { IncomingMessage } from "node:http";
import type { KeyRing } from "@fujie/kit/keys";

export function csrfTokenFor(ring: Pick<KeyRing, "hmac">, uid: string): string {
  return ring.hmac("cookie", material(uid)).digest.toString("base64url");
}

/**
 * Whether the request was made by our own page, or by a program that is no browser. Browsers name the origin of every
 * POST; JSON, which a foreign page cannot send without asking first (CORS), needs no token beside that.
 */
export function isOurOwn(
  request: Pick<IncomingMessage, "headers">,
  given: { readonly issuer: string; readonly json: boolean; readonly uid: string; readonly token: string | undefined },
  ring: Pick<KeyRing, "hmacMatches">,
): boolean {
  const { origin, "sec-fetch-site": site } = request.headers;
  if (origin !== undefined && origin !== new URL(given.issuer).origin) return false;
  if (site !== undefined && site !== "same-origin") return false;
  if (given.json) return true;
  return (
    given.token !== undefined && ring.hmacMatches("cookie", material(given.uid), Buffer.from(given.token, "base64url"))
  );
}

function material(uid: string): string {
  return JSON.stringify(["fujie-interaction-form-v1", uid]);
}
