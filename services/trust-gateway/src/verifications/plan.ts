import type { ClaimTypeName } from "../claims/rules.ts";
import type { Context } from "../context.ts";
import type { EvidencePolicy } from "../evidence/rules.ts";
import { type Candidate, planEvidence } from "../plan/rules.ts";
import type { Policy } from "../policy/rules.ts";
import type { GuardedSource } from "../sources/guard.ts";

/**
 * The policy under which the claim is judged now, with the sources to ask. Undefined when no lawful source can answer it
 * at this level. Sources that already have a check of this verification stay, so that no second one is paid.
 */
export function planNow(
  { sources, claimRules }: Pick<Context, "sources" | "claimRules">,
  policy: Policy,
  wanted: { readonly type: ClaimTypeName; readonly level: number },
  begun: ReadonlySet<string> = new Set(),
): EvidencePolicy | undefined {
  const enabled = sources.claims.filter(({ id }) => policy.enabledSources.has(id)).map(candidateOf);
  const kindsBegun = new Set(enabled.filter(({ id }) => begun.has(id)).map(({ kind }) => kind));
  const candidates = enabled.filter(({ id, kind }) => begun.has(id) || !kindsBegun.has(kind));
  return planEvidence(claimRules[wanted.type], wanted, candidates);
}

function candidateOf(source: GuardedSource): Candidate {
  const { id, kind, claimTypes, level, priceFen, usualLatencyMs } = source;
  const latencyMs = source.p95Ms() ?? usualLatencyMs;
  return { id, kind, claimTypes, level, priceFen, latencyMs, available: source.isAvailable() };
}
