/**
 * A CA as the source of one claim: that the holder of an identifier holds a certificate's key now. It answers for its
 * own certificates only; the steps are those of certificates/verify.ts, in the same order.
 */
import type { PossessionElements } from "@fujie/identity";
import { proofOf } from "../../claims/possession.ts";
import { unanswerable } from "../base-answer.ts";
import { type Answer, type Check, type Source, SourceError, type SourceFacts } from "../source.ts";
import type { Authority, CrlNumbers } from "./adapter.ts";
import { findPath, type Holder, identify, isHeld } from "./rules.ts";

export interface PossessionOptions {
  readonly clock: { nowMs(): number };
  readonly allowFictional: boolean;
  readonly crlNumbers: Pick<CrlNumbers, "raise">;
}

/** Nothing of it is paid, and nothing kept: a check that was lost is simply made again. */
export function openPossessionSource(facts: SourceFacts, authority: Authority, options: PossessionOptions): Source {
  return {
    ...facts,
    check: (check, signal) => Promise.race([answer(check, facts.level, authority, options), givenUp(signal)]),
    findOutcome: async () => undefined,
    wasAnswered: async () => false,
    [Symbol.dispose]: () => {},
  };
}

/** The CA to whose anchors the claim's certificate led when it was claimed. */
export function issuerOf(
  authorities: readonly Authority[],
  claim: PossessionElements,
  atMs: number,
): Authority | undefined {
  const profiles = authorities.map(({ profile }) => profile);
  const found = findPath(proofOf(claim).certificates, profiles, new Date(atMs));
  return found.ok ? authorities.find(({ profile }) => profile === found.profile) : undefined;
}

async function answer(
  { claim, askedAtMs }: Check,
  level: number,
  authority: Authority,
  { clock, allowFictional, crlNumbers }: PossessionOptions,
): Promise<Answer> {
  if (claim.type !== "CERTIFICATE_POSSESSION") throw unanswerable();
  const say = (verdict: Answer["verdict"]): Answer => ({ verdict, level, checkedAtMs: clock.nowMs() });
  const proof = proofOf(claim);
  const found = findPath(proof.certificates, [authority.profile], new Date(askedAtMs));
  const leaf = found.ok ? found.path[0] : undefined;
  if (!found.ok || leaf === undefined) throw refused(found.ok ? "CERTIFICATE_UNTRUSTED" : found.reason);
  if (!isHeld(leaf, Buffer.from(claim.message), proof)) return say("MISMATCH");
  const state = await authority.revocationOf(found.path);
  if (!state.ok && state.reason === "CERTIFICATE_REVOKED") return say("MISMATCH");
  if (!state.ok) throw new SourceError("AWAY", state.reason);
  await crlNumbers.raise(state.crlNumbers);
  const identified = identify(leaf, authority.profile, { nowMs: askedAtMs, allowFictional });
  if (!identified.ok) throw refused(identified.reason);
  return say(isClaimed(identified.holder, claim) ? "MATCH" : "MISMATCH");
}

function isClaimed(holder: Holder, claim: PossessionElements): boolean {
  const kind = holder.case === "citizenId" ? "citizen-id" : "uscc";
  return kind === claim.identifierKind && holder.value === claim.identifier;
}

function refused(reason: string): SourceError {
  return new SourceError("REFUSED", `cannot vouch for it: ${reason}`);
}

function givenUp(signal: AbortSignal): Promise<never> {
  const fault = () => new SourceError("UNKNOWN", "no answer in time");
  if (signal.aborted) return Promise.reject(fault());
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(fault()), { once: true }));
}
