/** Client secrets: random, shown once, kept as keyed digests, compared in constant time. */
import { randomBytes } from "node:crypto";
import type { Queryable } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import { findSecretDigests } from "./store.ts";

const SECRET_BYTES = 32;
/** How long the secret before still works, so that an application's replicas need not change at one instant. */
export const SECRET_OVERLAP_MS = 60 * 60_000;

export function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString("base64url");
}

export function digestSecret(ring: Pick<KeyRing, "hmac">, clientId: string, secret: string): Buffer {
  return ring.hmac("blind-index", material(clientId, secret)).digest;
}

/** Whether it is one of the client's secrets. All are compared, so that the time does not tell which one fitted. */
export async function secretMatches(
  context: { readonly db: Queryable; readonly ring: Pick<KeyRing, "hmacMatches">; readonly nowMs: number },
  clientId: string,
  secret: string,
): Promise<boolean> {
  const digests = await findSecretDigests(context.db, clientId, context.nowMs);
  const offered = material(clientId, secret);
  return digests.map((digest) => context.ring.hmacMatches("blind-index", offered, digest)).includes(true);
}

/** Bound to its client, and apart from everything else that the blind-index key digests. */
function material(clientId: string, secret: string): string {
  return JSON.stringify(["fujie-client-secret-v1", clientId, secret]);
}
