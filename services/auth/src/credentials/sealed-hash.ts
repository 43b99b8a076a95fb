import type { KeyRing } from "@fujie/kit/keys";
import type { StoredPassword } from "./store.ts";

/** A hash is sealed for its account: exchanged between rows it does not open. */
export function sealHash(ring: Pick<KeyRing, "seal">, accountId: string, phc: string): Buffer {
  return ring.seal("payload", aadOf(accountId), Buffer.from(phc, "utf8"));
}

export function openHash(ring: Pick<KeyRing, "open">, { accountId, sealedHash }: StoredPassword): string {
  return ring.open("payload", aadOf(accountId), sealedHash).toString("utf8");
}

function aadOf(accountId: string): string {
  return `password:${accountId}`;
}
