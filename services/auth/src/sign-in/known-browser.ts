/**
 * A browser in which somebody signed in before may try on while strangers use up the attempts on his login name. Its
 * cookie says only that: a random id under a keyed digest with the login name; it signs nobody in.
 */
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { KeyRing } from "@fujie/kit/keys";
import { readCookie } from "./cookies.ts";

const COOKIE = "fujie_browser";
const MAX_AGE_SECONDS = 180 * 86_400;
const VALUE = /^(?<id>[A-Za-z0-9_-]{22})\.(?<mac>[A-Za-z0-9_-]{43})$/;

/** The id of this browser if it knows the login name. */
export function knownBrowserOf(
  request: Pick<IncomingMessage, "headers">,
  ring: Pick<KeyRing, "hmacMatches">,
  loginKey: string,
): string | undefined {
  const { id, mac } = VALUE.exec(readCookie(request, COOKIE) ?? "")?.groups ?? {};
  if (id === undefined || mac === undefined) return undefined;
  return ring.hmacMatches("cookie", material(id, loginKey), Buffer.from(mac, "base64url")) ? id : undefined;
}

/** The cookie that makes a browser known. */
export function knownBrowserCookie(ring: Pick<KeyRing, "hmac">, loginKey: string, secure: boolean): string {
  const id = randomBytes(16).toString("base64url");
  const mac = ring.hmac("cookie", material(id, loginKey)).digest.toString("base64url");
  const attributes = `Path=/interaction; Max-Age=${MAX_AGE_SECONDS}; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`;
  return `${COOKIE}=${id}.${mac}; ${attributes}`;
}

function material(id: string, loginKey: string): string {
  return JSON.stringify(["fujie-known-browser-v1", id, loginKey]);
}
