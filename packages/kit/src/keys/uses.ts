/** Which keys there are, with which algorithm, and which service holds which: the only list. */
import type { KeyUse, SigningAlgorithm, SigningUse } from "./key-ring.ts";

export const signingAlgorithms = {
  token: "ES256",
  feed: "Ed25519",
  receipt: "ES256",
  "receipt-sm2": "SM2",
  consent: "Ed25519",
  checkpoint: "Ed25519",
  "checkpoint-sm2": "SM2",
  report: "Ed25519",
} as const satisfies Record<SigningUse, SigningAlgorithm>;

/** Secrets that more than one service holds; only provisioning can give them out. */
export const sharedUses: readonly KeyUse[] = ["consent-elements"];

const everyService: readonly KeyUse[] = [
  "feed",
  "page-token",
  "resume-token",
  "request-digest",
  "blind-index",
  "evidence",
  "cache-key",
  "response",
  "payload",
  "session",
  "data-key",
];

const serviceUses: Readonly<Record<string, readonly KeyUse[]>> = {
  auth: [...everyService, "token", "cookie"],
  registry: [...everyService, "consent", "consent-elements"],
  "trust-gateway": [...everyService, "receipt", "receipt-sm2", "consent-elements"],
  audit: [...everyService, "checkpoint", "checkpoint-sm2", "report"],
};

/** The keys that a service of that name holds; a service that is not of the platform's four gets what every one has. */
export function usesOf(service: string): readonly KeyUse[] {
  return serviceUses[service] ?? everyService;
}

export function isSigningUse(use: string): use is SigningUse {
  return Object.hasOwn(signingAlgorithms, use);
}

const keyUses: ReadonlySet<string> = new Set([
  ...Object.values(serviceUses).flat(),
  ...everyService,
  ...Object.keys(signingAlgorithms),
]);

export function isKeyUse(use: unknown): use is KeyUse {
  return typeof use === "string" && keyUses.has(use);
}
