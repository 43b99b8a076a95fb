import { randomBytes } from "node:crypto";

/** What a challenge is good for: its signature serves nothing else, here or anywhere. */
export interface ChallengeBinding {
  readonly purpose: "organisation-registration" | "ceremony";
  /** Who asked, and in which session; empty for the ceremony. */
  readonly subject: string;
  readonly session: string;
}

const RANDOM_BYTES = 64;

/**
 * The bytes to sign: a tag that no other message of the platform begins with, then one line each for purpose, origin,
 * subject, session, id, end and 64 random bytes. Every line is told apart by its place, and none can hold a line end.
 */
export function composeChallenge(
  origin: string,
  binding: ChallengeBinding,
  challengeId: string,
  expireAt: Date,
): Uint8Array {
  const lines = [
    "fujie-challenge-v1",
    binding.purpose,
    origin,
    binding.subject,
    binding.session,
    challengeId,
    expireAt.toISOString(),
    randomBytes(RANDOM_BYTES).toString("base64url"),
  ];
  if (lines.some((line) => line.includes("\n"))) throw new RangeError("a line of a challenge holds a line end");
  return Buffer.from(`${lines.join("\n")}\n`);
}
