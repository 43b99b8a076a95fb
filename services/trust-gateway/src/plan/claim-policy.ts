import type { ClaimType } from "@fujie/api/fujie/trust/v1/verification";

/** "PERSON_TWO_ELEMENT" and so on: every claim type of the contract. */
export type PolicyClaimType = Exclude<keyof typeof ClaimType, "UNSPECIFIED">;

export interface ClaimPolicy {
  readonly id: string;
  readonly claimType: PolicyClaimType;
  readonly startMs: number;
  /** First moment after it; absent while no successor is known. */
  readonly endMs?: number | undefined;
  /** The weightiest first. */
  readonly voices: readonly PolicyVoice[];
  /** How many voices have to agree, 1 to all. */
  readonly needed: number;
  /** How old a word may be when it is used again for the same application and purpose; 0: never. */
  readonly reuseMs: number;
  /** For faces: the least similarity that is a match, in thousandths; 0: the source's own verdict. */
  readonly faceThreshold: number;
  readonly sm2Receipt: boolean;
}

/** Any one source of a kind, or exactly one source. */
export type PolicyVoice = { readonly rank: number } & ({ readonly kind: string } | { readonly sourceId: string });
