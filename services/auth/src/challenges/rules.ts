/** What a certificate's holder signs to prove that he holds its key now, here, and for this sign-in. */
import { randomBytes } from "node:crypto";

export interface Challenge {
  readonly id: string;
  /** The interaction that it belongs to. */
  readonly interaction: string;
  /** The exact bytes to sign. */
  readonly message: Buffer;
  readonly expiresAtMs: number;
}

/** At most two minutes. */
export const CHALLENGE_LIFETIME_MS = 120_000;
const NONCE_BYTES = 64;

/**
 * A fresh challenge: domain tag, origin, purpose, interaction, id, expiry and 64 random bytes, a line each, so that what
 * was signed here can be shown nowhere else and for nothing else.
 */
export function makeChallenge(given: {
  readonly id: string;
  readonly origin: string;
  readonly interaction: string;
  readonly nowMs: number;
}): Challenge {
  const expiresAtMs = given.nowMs + CHALLENGE_LIFETIME_MS;
  const lines = [
    "fujie-certificate-challenge-v1",
    `origin: ${given.origin}`,
    "purpose: sign-in",
    `interaction: ${given.interaction}`,
    `challenge: ${given.id}`,
    `expires: ${new Date(expiresAtMs).toISOString()}`,
    `nonce: ${randomBytes(NONCE_BYTES).toString("base64url")}`,
  ];
  const message = Buffer.from(`${lines.join("\n")}\n`, "utf8");
  return { id: given.id, interaction: given.interaction, message, expiresAtMs };
}
