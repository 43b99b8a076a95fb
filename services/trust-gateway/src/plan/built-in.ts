/**
 * The policies that hold where the registry has pushed none for a claim type. Never edited once released: a change ends
 * the old one and begins a new one. The population base is authoritative for persons and the legal-person base for
 * organisations; nobody stands in (NI-31). Nothing is used again unless a pushed policy says for how long.
 */
import type { ClaimPolicy, PolicyClaimType } from "./claim-policy.ts";

const START_MS = Date.UTC(2025, 0, 1);

function by(claimType: PolicyClaimType, kind: string): ClaimPolicy {
  return {
    id: `built-in/${claimType.toLowerCase().replaceAll("_", "-")}/2025-01-01`,
    claimType,
    startMs: START_MS,
    voices: [{ kind, rank: 1 }],
    needed: 1,
    reuseMs: 0,
    faceThreshold: 0,
    sm2Receipt: false,
  };
}

export const builtInPolicies: readonly ClaimPolicy[] = [
  by("PERSON_TWO_ELEMENT", "population-base"),
  by("LEGAL_PERSON", "legal-person-base"),
  by("LEGAL_REPRESENTATIVE", "legal-person-base"),
  by("PERSON_CARRIER", "carrier"),
  by("PERSON_BANK_CARD", "bank"),
  by("PERSON_BANK_CARD_PHONE", "bank"),
  by("PERSON_FACE", "biometric"),
  by("CERTIFICATE_POSSESSION", "ca"),
  by("DOCUMENT_VALIDITY", "population-base"),
  by("GUARDIAN", "population-base"),
];
