/**
 * Evidence policies as data: who may speak for a type of claim, with what weight, and how much agreement it takes, from
 * when until when. A question is judged under the policy of its own moment, however late its answer comes. Pure.
 */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ClaimPolicy as ClaimPolicyMessage, Voice as VoiceMessage } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { isSourceKind } from "@fujie/identity";
import { fieldError } from "@fujie/kit/errors";
import { builtInPolicies } from "./built-in.ts";
import type { ClaimPolicy, PolicyClaimType, PolicyVoice } from "./claim-policy.ts";

/** The policies of each claim type, oldest first. They do not overlap, and follow each other without a gap. */
export type ClaimPolicies = ReadonlyMap<PolicyClaimType, readonly ClaimPolicy[]>;

/**
 * Reads what the registry has put. Throws FIELD_INVALID, which names the field, for policies that overlap or leave a
 * gap, for a source or kind with two voices, for voices out of order, and where more voices are needed than there are.
 * A certificate's possession is shown anew each time: its reuse_seconds is refused.
 *
 * A kind that only a newer release knows does not keep the gateway from taking the rest: its policy needs every voice,
 * so that nothing is verified under it, and `unknownKindsIn` tells which it is.
 */
export function readClaimPolicies(messages: readonly ClaimPolicyMessage[]): ClaimPolicies {
  return orderPolicies(messages.map(readClaimPolicy), (index, field, problem) => {
    throw fieldError("FIELD_INVALID", `claim_policies[${index}].${field}`, problem);
  });
}

/** The policies that speak of kinds of source that this release does not know, with those kinds. */
export function unknownKindsIn(messages: readonly ClaimPolicyMessage[]): { policyId: string; kinds: string[] }[] {
  return messages
    .map(({ policyId, voices }) => ({
      policyId,
      kinds: voices.flatMap(({ source }) =>
        source.case === "kind" && !isSourceKind(source.value) ? [source.value] : [],
      ),
    }))
    .filter(({ kinds }) => kinds.length > 0);
}

/** The policy that judges a question of that moment: the registry's, or the built-in one where it has none. */
export function policyAt(
  policies: ClaimPolicies,
  claimType: PolicyClaimType,
  eventTimeMs: number,
): ClaimPolicy | undefined {
  return findAt(policies.get(claimType), eventTimeMs) ?? findAt(builtIn.get(claimType), eventTimeMs);
}

function findAt(policies: readonly ClaimPolicy[] | undefined, timeMs: number): ClaimPolicy | undefined {
  return policies?.find(({ startMs, endMs }) => startMs <= timeMs && (endMs === undefined || timeMs < endMs));
}

type Refuse = (index: number, field: string, problem: string) => never;

function orderPolicies(policies: readonly ClaimPolicy[], refuse: Refuse): ClaimPolicies {
  for (const [index, policy] of policies.entries()) {
    requireSound(policy, (field, problem) => refuse(index, field, problem));
  }
  const ids = policies.map(({ id }) => id);
  const repeated = ids.findIndex((id, index) => ids.indexOf(id) !== index);
  if (repeated !== -1) refuse(repeated, "policy_id", "is given twice");
  const byType = Map.groupBy(policies, ({ claimType }) => claimType);
  return new Map(
    Array.from(byType, ([claimType, some]) => {
      const inOrder = some.toSorted((a, b) => a.startMs - b.startMs);
      for (const [i, policy] of inOrder.entries()) {
        const before = inOrder[i - 1];
        const meets = before === undefined || before.endMs === policy.startMs;
        if (!meets) refuse(policies.indexOf(policy), "start_time", "is not where the policy before it ends");
      }
      return [claimType, inOrder] as const;
    }),
  );
}

function requireSound(policy: ClaimPolicy, refuse: (field: string, problem: string) => never): void {
  const { startMs, endMs, voices, needed } = policy;
  if (endMs !== undefined && endMs <= startMs) refuse("end_time", "is not after start_time");
  if (voices.length === 0) refuse("voices", "is empty");
  // A challenge is honoured once: what was shown by it says nothing of another one.
  const isPossession = policy.claimType === "CERTIFICATE_POSSESSION";
  if (isPossession && policy.reuseMs > 0) refuse("reuse_seconds", "is not 0 for a certificate's possession");
  if (needed < 1 || needed > voices.length) refuse("needed", "is more than there are voices");
  const names = voices.map((voice) => ("kind" in voice ? `kind ${voice.kind}` : `source ${voice.sourceId}`));
  for (const [i, voice] of voices.entries()) {
    const before = voices[i - 1];
    if (names.indexOf(names[i] ?? "") !== i) refuse(`voices[${i}]`, "has a voice already");
    if (before !== undefined && before.rank < voice.rank) refuse(`voices[${i}].rank`, "is above the one before it");
  }
}

function readClaimPolicy(message: ClaimPolicyMessage): ClaimPolicy {
  const needsAll = message.needed === 0 || unknownKindsIn([message]).length > 0;
  const { policyId, claimType, startTime, endTime, voices, needed, reuseSeconds, faceThreshold, sm2Receipt } = message;
  return {
    id: policyId,
    claimType: claimTypeOf(claimType),
    startMs: startTime === undefined ? 0 : timestampMs(startTime),
    endMs: endTime === undefined ? undefined : timestampMs(endTime),
    voices: voices.map((voice, place) => readVoice(voice, place)),
    needed: needsAll && needed <= voices.length ? voices.length : needed,
    reuseMs: reuseSeconds * 1_000,
    faceThreshold,
    sm2Receipt,
  };
}

function readVoice({ source, rank }: VoiceMessage, index: number): PolicyVoice {
  if (source.case === undefined) throw fieldError("FIELD_INVALID", `voices[${index}]`, "names nobody");
  return source.case === "kind" ? { kind: source.value, rank } : { sourceId: source.value, rank };
}

/** Throws FIELD_INVALID for a type that the contract does not name. */
export function claimTypeOf(type: ClaimType): PolicyClaimType {
  const name = claimTypes.get(type);
  if (name === undefined) throw fieldError("FIELD_INVALID", "claim_type", "is not one that there is");
  return name;
}

const claimTypes: ReadonlyMap<ClaimType, PolicyClaimType> = new Map(
  Object.entries(ClaimType).flatMap(([name, type]) =>
    isPolicyClaimType(name) && typeof type === "number" ? [[type, name]] : [],
  ),
);

function isPolicyClaimType(name: string): name is PolicyClaimType {
  return Object.hasOwn(ClaimType, name) && name !== "UNSPECIFIED" && !/^\d/.test(name);
}

const builtIn = orderPolicies(builtInPolicies, (index, field, problem) => {
  throw new RangeError(`built-in policy ${index}: ${field} ${problem}`);
});
