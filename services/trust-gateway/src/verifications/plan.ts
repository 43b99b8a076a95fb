/** The plan of a question: what judges it, who is asked first, and which words are at hand already. */
import { hash } from "node:crypto";
import { type ClaimElements, canonicalElements } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import type { VersionedDigest } from "@fujie/kit/keys";
import type { Context } from "../context.ts";
import type { Evidence, EvidencePolicy } from "../evidence/rules.ts";
import { findWords, type KnownWord } from "../fan-out/reuse.ts";
import type { ClaimPolicy, PolicyClaimType } from "../plan/claim-policy.ts";
import { policyAt } from "../plan/policies.ts";
import { type Candidate, evidencePolicyOf, NOTHING_YET, nextToAsk } from "../plan/rules.ts";
import type { Policy, SourceRules } from "../policy/rules.ts";
import { issuerOf } from "../sources/certificate-authority/source.ts";
import type { Claimant, Priority } from "../sources/fair-queue.ts";
import type { GuardedSource } from "../sources/guard.ts";
import { NO_LIMITS, type SourceTerms } from "../sources/quota.ts";
import type { MaintenanceWindow } from "../sources/source.ts";
import type { Requester } from "./rules.ts";

export interface Plan extends EvidencePolicy {
  readonly policyId: string;
  /** How old a word may be that is used again; 0: none is. */
  readonly reuseMs: number;
  /** For faces: the least similarity that is a match, in thousandths; 0: the source's own verdict. */
  readonly faceThreshold: number;
  readonly sm2Receipt: boolean;
  /** Whom to ask first; empty where the words at hand decide, or nobody is there now. */
  readonly first: readonly string[];
  /** Fresh words at hand. */
  readonly known: readonly KnownWord[];
  /** The elements as they are compared, and their keyed digest. */
  readonly elements: Elements;
  /** Of requester, purpose, policy and elements, the latter by their keyed digest: words are shared and used again under it. */
  readonly key: string;
  readonly claimant: Claimant;
  readonly deadlineMs: number;
}

export interface Elements extends VersionedDigest {
  readonly text: string;
}

/** A question before it is planned. */
export interface Asking {
  readonly requester: Requester;
  readonly claim: ClaimElements;
  readonly purpose: string;
  /** 1 to 3. */
  readonly level: number;
  readonly priority: Priority;
  /** How long the answer may take. */
  readonly deadlineMs?: number;
}

/** What an earlier run of the question left. */
export interface Left {
  /** When it was asked: that moment's policy judges it. */
  readonly askedAtMs: number;
  readonly evidence: readonly Evidence[];
  /** Sources that have a bizSeq for it. */
  readonly begun: ReadonlySet<string>;
}

type Planning = Pick<Context, "sources" | "clock" | "ring" | "ephemeral" | "coalescer">;

/** How long a question may take whose asker does not say. */
export const DEADLINE_MS = 30_000;

/**
 * Plans a new question. Throws CLAIM_UNSUPPORTED when no lawful source can answer it at this level, and OVERLOADED, with
 * the time to wait, when all that could are too busy to take one more.
 */
export async function planNow(context: Planning, policy: Policy, asking: Asking): Promise<Plan> {
  const plan = await planAt(context, policy, asking, {
    askedAtMs: context.clock.nowMs(),
    evidence: [],
    begun: new Set(),
  });
  if (plan === undefined) throw new DomainError("CLAIM_UNSUPPORTED");
  requireAdmission(context, policy, asking, plan);
  return plan;
}

/** Plans a question that was begun. Undefined: no lawful source can answer it now. */
export async function planAgain(
  context: Planning,
  policy: Policy,
  asking: Asking,
  left: Left,
): Promise<Plan | undefined> {
  return planAt(context, policy, asking, left);
}

async function planAt(context: Planning, policy: Policy, asking: Asking, left: Left): Promise<Plan | undefined> {
  const { claim, requester, level, priority, deadlineMs = DEADLINE_MS } = asking;
  const { clock } = context;
  const rules = policyAt(policy.claimPolicies, claim.type, left.askedAtMs);
  if (rules === undefined) return undefined;
  const candidates = candidatesAt(context, policy, { claimType: claim.type, timeMs: clock.nowMs() }).filter(
    answering(context, claim, left.askedAtMs),
  );
  const judged = evidencePolicyOf(rules, { claimType: claim.type, level }, candidates);
  if (judged === undefined) return undefined;
  const elements = digestElements(context, claim);
  const key = keyOf(asking, rules, elements);
  const words = await findWords(context, key, rules.reuseMs, clock.nowMs());
  const heard = new Set(left.evidence.map(({ sourceId }) => sourceId));
  const known = words.filter(({ sourceId }) => !heard.has(sourceId));
  for (const { sourceId } of known) context.sources.claims.find(({ id }) => id === sourceId)?.noteReuse();
  const progress = { ...NOTHING_YET, evidence: [...left.evidence, ...known], begun: left.begun };
  return {
    ...judged,
    policyId: rules.id,
    reuseMs: rules.reuseMs,
    faceThreshold: rules.faceThreshold,
    sm2Receipt: rules.sm2Receipt,
    first: nextToAsk(judged, candidates, deadlineMs, progress),
    known,
    elements,
    key,
    claimant: claimantOf(policy, requester, priority),
    deadlineMs,
  };
}

/** A certificate is vouched for by the CA to whose anchors it leads and by no other; everything else by its claim type. */
function answering({ sources }: Planning, claim: ClaimElements, askedAtMs: number): (candidate: Candidate) => boolean {
  if (claim.type !== "CERTIFICATE_POSSESSION") return () => true;
  const issuer = issuerOf(sources.authorities, claim, askedAtMs);
  return ({ id }) => id === issuer?.id;
}

/** Refuses what nobody would take, before anything is written. Looks at queues in memory only. */
function requireAdmission(context: Planning, policy: Policy, { claim }: Asking, plan: Plan): void {
  const { sources, coalescer, clock } = context;
  const isFull = (source: GuardedSource) =>
    !source.admits(plan.claimant) && !coalescer.isAsking(sharingKey(plan, source.id));
  const full = sources.claims.filter((source) => plan.first.includes(source.id) && isFull(source));
  if (full.length === 0) return;
  const free = sources.claims.filter((source) => !isFull(source));
  const about = { claimType: claim.type, timeMs: clock.nowMs() };
  const candidates = candidatesAt({ sources: { claims: free } }, policy, about);
  const instead = nextToAsk(plan, candidates, plan.deadlineMs, { ...NOTHING_YET, evidence: plan.known });
  if (instead.length === plan.first.length) return;
  const retryDelayMs = Math.min(...full.map((source) => source.retryAfterMs()));
  throw new DomainError("OVERLOADED", { subject: "source", retryDelayMs });
}

/** Under what identical questions to one source share a check. */
export function sharingKey({ key }: Pick<Plan, "key">, sourceId: string): string {
  return `${sourceId}:${key}`;
}

export interface Moment {
  readonly claimType: PolicyClaimType;
  readonly timeMs: number;
  /** Another time than now: breakers and quotas say nothing about it. */
  readonly elsewhen?: boolean;
}

/** What the planner knows of every source that answers the claim type, at that moment. */
export function candidatesAt(
  { sources }: { readonly sources: Pick<Context["sources"], "claims"> },
  policy: Pick<Policy, "sources">,
  { claimType, timeMs, elsewhen = false }: Moment,
): Candidate[] {
  const able = sources.claims.filter(({ claimTypes }) => claimTypes.some((type) => type === claimType));
  return able.map((source) => {
    const { id, kind, claimTypes, level, priceFen, usualLatencyMs } = source;
    const rules = policy.sources.get(id);
    const closed = maintenanceOf(source, policy).some(({ startMs, endMs }) => startMs <= timeMs && timeMs < endMs);
    const hindrance = elsewhen ? undefined : source.hindrance(termsOf(rules));
    return {
      id,
      kind,
      claimTypes,
      level,
      priceFen,
      latencyMs: source.p95Ms() ?? usualLatencyMs,
      enabled: rules?.enabled === true,
      hindrance: closed ? "MAINTENANCE" : hindrance,
    };
  });
}

/** On which terms the registry lets a source be asked. */
export function termsOf(rules: SourceRules | undefined): SourceTerms {
  return rules === undefined ? NO_LIMITS : { ratePerSecond: rules.ratePerSecond, perDay: rules.dailyLimit };
}

/** What the source has announced, and what the registry has planned, soonest first. */
export function maintenanceOf(
  source: Pick<GuardedSource, "id" | "maintenance">,
  policy: Pick<Policy, "sources">,
): readonly MaintenanceWindow[] {
  const planned = policy.sources.get(source.id)?.maintenance ?? [];
  const announced = source.maintenance();
  if (planned.length === 0) return announced;
  return [...planned, ...announced].toSorted((a, b) => a.startMs - b.startMs);
}

/** The registry's own questions share under one name. */
const REGISTRY: Omit<Claimant, "priority"> = { tenant: "registry", weight: 1 };

function claimantOf({ applications }: Policy, requester: Requester, priority: Priority): Claimant {
  if (!("applicationId" in requester)) return { ...REGISTRY, priority };
  const { applicationId } = requester;
  return { tenant: `application:${applicationId}`, weight: applications.get(applicationId)?.weight ?? 1, priority };
}

function digestElements({ ring }: Planning, claim: ClaimElements): Elements {
  const text = canonicalElements(claim);
  return { text, ...ring.hmac("blind-index", text) };
}

/**
 * The elements are told apart by the digest that their verification keeps anyway, rather than by another one: whoever
 * reads both stores learns nothing that the evidence does not say. The rest is nothing personal.
 */
function keyOf({ requester, purpose }: Asking, rules: ClaimPolicy, { version, digest }: Elements): string {
  const who = "applicationId" in requester ? ["application", requester.applicationId] : ["registry"];
  return `${scopeOf(rules, JSON.stringify([who, purpose, rules.id]))}:${version}:${digest.toString("base64url")}`;
}

/** As many as there are applications with their purposes; gone with the policy. */
const scopes = new WeakMap<ClaimPolicy, Map<string, string>>();

/** A short name for requester, purpose and policy, whatever their length. */
function scopeOf(rules: ClaimPolicy, text: string): string {
  const known = scopes.get(rules) ?? new Map<string, string>();
  const scope = known.get(text) ?? hash("sha256", text, "base64url");
  scopes.set(rules, known.set(text, scope));
  return scope;
}
