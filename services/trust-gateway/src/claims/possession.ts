/**
 * The claim that the holder of an identifier holds a certificate's key now (fujie.trust.v1.Possession). The challenge is
 * the application's own, bound to it by name; that it is honoured once is a unique insert in the verification's
 * transaction. Pure.
 */
import { createHash } from "node:crypto";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type CertificateProof, CertificateProofSchema } from "@fujie/api/fujie/trust/v1/certificate";
import type { Possession } from "@fujie/api/fujie/trust/v1/verification";
import type { PossessionElements } from "@fujie/identity";
import { fieldError } from "@fujie/kit/errors";

const CHALLENGE_LIFE_MS = 2 * 60_000;
/** How far the application's clock may run ahead. */
const CLOCK_SKEW_MS = 30_000;

type Proven = Pick<PossessionElements, "fingerprint" | "nonce" | "message" | "proof">;

/** What an application has its user sign: of no use to another application. */
export function possessionChallenge(applicationId: string, nonce: string, challengedAtMs: number): string {
  return `fujie-possession-v1\n${applicationId}\n${nonce}\n${challengedAtMs}\n`;
}

/** Throws CHALLENGE_INVALID for a challenge that is not of now, and CLAIM_INCOMPLETE for one without certificate. */
export function readPossession(
  { nonce, challengeTime, proof }: Possession,
  { applicationId, nowMs }: { readonly applicationId: string; readonly nowMs: number },
): Proven {
  const [leaf] = proof?.certificates ?? [];
  if (proof === undefined || leaf === undefined) {
    throw fieldError("CLAIM_INCOMPLETE", "claim.possession.proof", "is required for this claim type");
  }
  const challengedAtMs = challengeTime === undefined ? Number.NaN : timestampMs(challengeTime);
  const ofNow = challengedAtMs > nowMs - CHALLENGE_LIFE_MS && challengedAtMs <= nowMs + CLOCK_SKEW_MS;
  if (!ofNow)
    throw fieldError("CHALLENGE_INVALID", "claim.possession.challenge_time", "is not of the last two minutes");
  const nonceText = Buffer.from(nonce).toString("hex");
  return {
    fingerprint: createHash("sha256").update(leaf).digest("hex"),
    nonce: nonceText,
    message: possessionChallenge(applicationId, nonceText, Math.floor(challengedAtMs)),
    proof: Buffer.from(toBinary(CertificateProofSchema, proof)).toString("base64"),
  };
}

/** The certificate and signature of a claim that `readPossession` read. */
export function proofOf({ proof }: PossessionElements): CertificateProof {
  return fromBinary(CertificateProofSchema, Buffer.from(proof, "base64"));
}

/** Under which key a challenge is honoured once, and until when that has to be remembered. */
export function singleUseOf(
  { message }: PossessionElements,
  nowMs: number,
): { readonly key: string; readonly expiresAtMs: number } {
  const key = `possession:${createHash("sha256").update(message).digest("hex")}`;
  return { key, expiresAtMs: nowMs + CHALLENGE_LIFE_MS + CLOCK_SKEW_MS };
}
