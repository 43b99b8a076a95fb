/**
 * Which sources are asked for a claim: the cheapest lawful set. Pure, so that ExplainPlan tells what Verify does.
 *
 *   claim policy + sources ──▶ voices (who may speak) ──▶ the fewest questions that can settle it, cheapest first
 *                                                             │ no answer, or one that settles nothing
 *                                                             └──▶ the next lawful ones, while the asking goes on
 *
 * Only a source that the registry lets be asked, that has a voice, reaches the level and is there now is ever chosen.
 */
import {
  adjudicate,
  type Evidence,
  type EvidencePolicy,
  isSettled,
  standingOf,
  type Voice,
} from "../evidence/rules.ts";
import type { Hindrance } from "../sources/guard.ts";
import type { ClaimPolicy, PolicyClaimType, PolicyVoice } from "./claim-policy.ts";

/** What the planner knows of a source now. */
export interface Candidate {
  readonly id: string;
  readonly kind: string;
  readonly claimTypes: readonly PolicyClaimType[];
  readonly level: number;
  readonly priceFen: number;
  /** Live 95th percentile, or the usual one while nothing was measured. */
  readonly latencyMs: number;
  /** Whether the registry lets it be asked. */
  readonly enabled: boolean;
  readonly hindrance?: Hindrance | undefined;
}

export interface Wanted {
  readonly claimType: PolicyClaimType;
  /** 1 to 3. */
  readonly level: number;
  /** How long the answer may take; a source that is usually slower is the last resort. */
  readonly deadlineMs: number;
}

/** Who has already been turned to. */
export interface Progress {
  /** What was said, cached words included. */
  readonly evidence: readonly Evidence[];
  /** Asked, and not answered yet. */
  readonly outstanding: ReadonlySet<string>;
  /** Asked in this run, with or without an answer: not asked again in it. */
  readonly asked: ReadonlySet<string>;
  /** Asked in an earlier run under a bizSeq that stands: asking again costs nothing more. */
  readonly begun: ReadonlySet<string>;
}

export const NOTHING_YET: Progress = { evidence: [], outstanding: new Set(), asked: new Set(), begun: new Set() };

/**
 * The voices that judge the claim, each with the sources that may speak with it now. A voice for which the platform has
 * no source at all is left out; one whose sources are suspended stays, and is silent. Undefined when fewer voices than
 * are needed have a lawful source: no plan.
 */
export function evidencePolicyOf(
  policy: ClaimPolicy,
  wanted: Pick<Wanted, "claimType" | "level">,
  candidates: readonly Candidate[],
): EvidencePolicy | undefined {
  const able = candidates.filter((candidate) => answers(candidate, wanted) && candidate.level >= wanted.level);
  const voices = policy.voices.flatMap((voice): Voice[] => {
    const own = able.filter((candidate) => speaksWith(policy, voice, candidate));
    const sourceIds = own.filter(({ enabled }) => enabled).map(({ id }) => id);
    return own.length === 0 ? [] : [{ sourceIds, rank: voice.rank }];
  });
  const lawful = voices.filter(({ sourceIds }) => sourceIds.length > 0);
  return lawful.length < policy.needed ? undefined : { voices, needed: policy.needed, level: wanted.level };
}

/**
 * The sources to ask now, in order of choice; empty when nobody needs to be asked or nobody is there. As many voices as
 * are missing to the number needed; and once those who were asked have spoken without settling it, one more at a time.
 */
export function nextToAsk(
  policy: EvidencePolicy,
  candidates: readonly Candidate[],
  deadlineMs: number,
  { evidence, outstanding, asked, begun }: Progress,
): readonly string[] {
  const known = adjudicate(policy, evidence);
  if (known.outcome !== "PENDING" || known.reason !== "SOURCE_AWAY") return [];
  const free = candidates.filter(({ id, enabled, hindrance }) => enabled && hindrance === undefined && !asked.has(id));
  const choices: Choice[] = [];
  let agreeing = 0;
  for (const voice of policy.voices) {
    const standing = standingOf(policy, voice, evidence);
    const busy = voice.sourceIds.some((id) => outstanding.has(id));
    if (standing === "AGREES" || (standing === "SILENT" && busy)) agreeing += 1;
    if (standing !== "SILENT" || busy) continue;
    const own = free
      .filter(({ id }) => voice.sourceIds.includes(id))
      .map((candidate) => choiceOf(candidate, voice, begun));
    const best = own.toSorted((a, b) => compareChoices(a, b, deadlineMs))[0];
    if (best !== undefined) choices.push(best);
  }
  const inOrder = choices.toSorted((a, b) => compareChoices(a, b, deadlineMs)).map(({ candidate }) => candidate.id);
  if (isSettled(policy, evidence, new Set([...outstanding, ...inOrder]))) return [];
  const missing = policy.needed - agreeing;
  if (missing > 0) return inOrder.slice(0, missing);
  if (outstanding.size > 0 && !isSettled(policy, evidence, outstanding)) return [];
  // Enough agree and somebody does not: first whoever can settle it alone.
  const decisive = inOrder.find((id) => !isSettled(policy, evidence, new Set([id])));
  return [decisive ?? inOrder[0]].filter((id) => id !== undefined);
}

interface Choice {
  readonly candidate: Candidate;
  readonly rank: number;
  readonly costFen: number;
}

function choiceOf(candidate: Candidate, { rank }: Voice, begun: ReadonlySet<string>): Choice {
  return { candidate, rank, costFen: begun.has(candidate.id) ? 0 : candidate.priceFen };
}

/** In time, then cheap, then weighty, then fast; the id makes it the same on every replica. */
function compareChoices(a: Choice, b: Choice, deadlineMs: number): number {
  const late = ({ candidate }: Choice) => Number(candidate.latencyMs > deadlineMs);
  return (
    late(a) - late(b) ||
    a.costFen - b.costFen ||
    b.rank - a.rank ||
    a.candidate.latencyMs - b.candidate.latencyMs ||
    (a.candidate.id < b.candidate.id ? -1 : 1)
  );
}

export type PlanReasonName =
  | "CHEAPEST"
  | "REQUIRED"
  | "NOT_NEEDED"
  | "SUSPENDED"
  | "MAINTENANCE"
  | "UNAVAILABLE"
  | "LEVEL_TOO_LOW"
  | "NOT_LAWFUL"
  | "QUOTA";

export interface ExplainedSource {
  readonly sourceId: string;
  readonly asked: boolean;
  readonly reason: PlanReasonName;
  readonly rank: number;
  readonly priceFen: number;
  readonly latencyMs: number;
}

export interface ExplainedPlan {
  readonly policyId: string;
  readonly needed: number;
  /** Those that are asked first. */
  readonly sources: readonly ExplainedSource[];
  readonly costFen: number;
  /** Of the slowest that is asked. */
  readonly expectedLatencyMs: number;
}

/** What would be asked, and of every source that answers the claim type why, or why not. Undefined: no plan. */
export function explainPlan(
  policy: ClaimPolicy,
  wanted: Wanted,
  candidates: readonly Candidate[],
): ExplainedPlan | undefined {
  const judged = evidencePolicyOf(policy, wanted, candidates);
  if (judged === undefined) return undefined;
  const first = nextToAsk(judged, candidates, wanted.deadlineMs, NOTHING_YET);
  const required = choiceless(judged, candidates);
  const sources = candidates
    .filter((candidate) => answers(candidate, wanted))
    .map((candidate): ExplainedSource => {
      const { id, priceFen, latencyMs } = candidate;
      const asked = first.includes(id);
      const voice = policy.voices.find((each) => speaksWith(policy, each, candidate));
      const needed = required ? "REQUIRED" : "CHEAPEST";
      const reason = asked ? needed : whyNot(candidate, wanted, voice !== undefined);
      return { sourceId: id, asked, reason, rank: voice?.rank ?? 0, priceFen, latencyMs };
    })
    .toSorted((a, b) => placeOf(first, a) - placeOf(first, b) || (a.sourceId < b.sourceId ? -1 : 1));
  const chosen = sources.filter(({ asked }) => asked);
  return {
    policyId: policy.id,
    needed: policy.needed,
    sources,
    costFen: chosen.reduce((sum, { priceFen }) => sum + priceFen, 0),
    expectedLatencyMs: Math.max(0, ...chosen.map(({ latencyMs }) => latencyMs)),
  };
}

/** Whether the policy leaves nothing to choose: as many sources are lawful as voices are needed. */
function choiceless({ voices, needed }: EvidencePolicy, candidates: readonly Candidate[]): boolean {
  const lawful = new Set(voices.flatMap(({ sourceIds }) => sourceIds));
  return candidates.filter(({ id }) => lawful.has(id)).length === needed;
}

function whyNot({ enabled, level, hindrance }: Candidate, wanted: Wanted, lawful: boolean): PlanReasonName {
  if (!lawful) return "NOT_LAWFUL";
  if (!enabled) return "SUSPENDED";
  if (level < wanted.level) return "LEVEL_TOO_LOW";
  return hindrance ?? "NOT_NEEDED";
}

function placeOf(first: readonly string[], { sourceId }: ExplainedSource): number {
  const place = first.indexOf(sourceId);
  return place === -1 ? first.length : place;
}

function answers({ claimTypes }: Candidate, { claimType }: Pick<Wanted, "claimType">): boolean {
  return claimTypes.includes(claimType);
}

/** A source that the policy names has that voice and not its kind's. */
function speaksWith({ voices }: ClaimPolicy, voice: PolicyVoice, { id, kind }: Candidate): boolean {
  if ("sourceId" in voice) return voice.sourceId === id;
  return voice.kind === kind && !voices.some((other) => "sourceId" in other && other.sourceId === id);
}
