import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { HttpRequest } from "./reply.ts";

/** How far the caller's clock may be off; within it a repeat is told by its bizSeq. */
export const TIMESTAMP_WINDOW_MS = 5 * 60_000;

/** A caller that a base knows: its id and the secret of its request signatures. */
export type HttpCaller = { readonly clientId: string; readonly secret: string };

/** Hexadecimal HMAC-SHA256 over method, path, timestamp and the body's SHA-256, a line each. */
export function signRequest(
  secret: string,
  request: { readonly method: string; readonly path: string; readonly timestamp: string; readonly body: Uint8Array },
): string {
  const bodyDigest = createHash("sha256").update(request.body).digest("hex");
  const text = [request.method, request.path, request.timestamp, bodyDigest].join("\n");
  return createHmac("sha256", secret).update(text).digest("hex");
}

/** Whether the request is the caller's own and of now. Secrets are compared in constant time. */
export function verifyRequest(request: HttpRequest, caller: HttpCaller, nowMs: number): boolean {
  const clientId = request.headers["x-client-id"];
  const timestamp = request.headers["x-timestamp"];
  const signature = request.headers["x-signature"];
  if (typeof timestamp !== "string" || !/^\d{1,15}$/.test(timestamp)) return false;
  if (typeof signature !== "string" || !/^[0-9a-f]{64}$/.test(signature)) return false;
  const expected = signRequest(caller.secret, { ...request, timestamp });
  const signed = timingSafeEqual(Buffer.from(signature, "hex"), Buffer.from(expected, "hex"));
  return signed && clientId === caller.clientId && Math.abs(nowMs - Number(timestamp)) <= TIMESTAMP_WINDOW_MS;
}
