import type { AdapterContext, ClaimAdapter } from "../adapter.ts";
import { openSignedHttpSource, type SignedHttpSettings } from "../signed-http.ts";
import { type Answer, type Check, type Replica, type Source, SourceError, type SourceFacts } from "../source.ts";
import { dialect, variantChecks } from "./rules.ts";
import { readSettings } from "./settings.ts";

export const adapter: ClaimAdapter<SignedHttpSettings> = { readSettings, open };

function open(facts: SourceFacts, settings: SignedHttpSettings, context: AdapterContext): Source {
  const source = openSignedHttpSource(facts, settings, context, dialect);
  const replicas = source.replicas?.map(tryingVariants) ?? [];
  return { ...source, ...tryingVariants(source), replicas };
}

/**
 * Where the name differs and has other spellings, asks for those, too, one after another: each is a check of its own
 * that the base bills. One that agrees is a match of a possible variant, which a person decides.
 */
function tryingVariants(replica: Replica): Replica {
  return {
    check: async (check, signal) => {
      const answer = await replica.check(check, signal);
      return tryVariants(answer, check, (variant) => replica.check(variant, signal).catch(partlyAnswered));
    },
    findOutcome: async (check, signal) => {
      const answer = await replica.findOutcome(check, signal);
      // One spelling that was never asked for leaves the whole open: the check is sent again, and billed once.
      return answer && tryVariants(answer, check, (variant) => replica.findOutcome(variant, signal));
    },
  };
}

/** The base was asked before, and bills that. */
function partlyAnswered(error: unknown): never {
  if (!(error instanceof SourceError)) throw error;
  const { fault, retryAfterMs } = error;
  const details = { partlyAnswered: true, cause: error, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  throw new SourceError(fault, "another spelling", details);
}

async function tryVariants<Found extends Answer | undefined>(
  answer: Answer,
  check: Check,
  ask: (variant: Check) => Promise<Found>,
): Promise<Answer | Found> {
  const variants = answer.verdict === "MISMATCH" ? variantChecks(check) : [];
  for (const [i, variant] of variants.entries()) {
    const found = await ask(variant);
    if (found === undefined) return found;
    if (found.verdict === "MATCH") return { ...found, variant: true, billed: i + 2 };
  }
  return variants.length === 0 ? answer : { ...answer, billed: variants.length + 1 };
}
