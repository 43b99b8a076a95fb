/**
 * The life of a check at any of the sources:
 *
 *   arrive ─▶ read ─▶ away? ─▶ quota ─▶ fault? ─▶ bizSeq known? ──same elements──▶ first answer again
 *                                           │ new          └─other──▶ conflict
 *                                           ▼
 *               quota of the identifier ─▶ work ─▶ look up ─▶ bill ─▶ keep for 24 hours ─▶ answer, or drop
 *
 * Whatever is refused before "bill" costs nothing; mismatch and missing record are results and cost their price.
 */
import { createAnswers } from "./answers.ts";
import { FieldError } from "./field-error.ts";
import { AWAY_RETRY_MS, createManners, type Manners, type Surroundings } from "./manners.ts";
import type { Settings } from "./settings.ts";

export type Check<Answer> = {
  readonly bizSeq: string;
  /** Equal for equal elements, of fixed length. */
  readonly fingerprint: string;
  /** What the daily cap counts by. */
  readonly identifier: string;
  /** Looks the elements up. Undefined: the source fails for this identifier alone. */
  lookUp(checkTimeMs: number): Answer | undefined;
};

export type Delivery<Answer> =
  | { readonly kind: "answered"; readonly answer: Answer }
  | { readonly kind: "away" | "limited"; readonly retryAfterMs: number }
  | { readonly kind: "failed" | "hung" | "dropped" | "conflict" };

/** What became of an earlier check. `unknown`: it never arrived and was not billed. */
export type Outcome<Answer> =
  | { readonly kind: "answered"; readonly answer: Answer }
  | { readonly kind: "away"; readonly retryAfterMs: number }
  | { readonly kind: "unknown" };

export type CheckDesk<Answer> = {
  readonly manners: Manners;
  /** Reads the request, which may throw FieldError, and checks. Throws the same, and AbortError when the sandbox stops. */
  check(read: () => Check<Answer>): Promise<Delivery<Answer>>;
  /** Faults other than maintenance leave this question alone, so that an unknown outcome can be cleared up. */
  outcome(bizSeq: string): Promise<Outcome<Answer>>;
};

export function createCheckDesk<Answer extends { readonly result: string }>(
  id: string,
  defaults: Settings,
  surroundings: Surroundings,
): CheckDesk<Answer> {
  const { clock, log } = surroundings;
  const manners = createManners(id, defaults, surroundings);
  const answers = createAnswers<Answer>();
  const { ledger, quota } = manners;

  async function deliver(check: Check<Answer>): Promise<Delivery<Answer>> {
    const admission = manners.admit();
    if (admission.kind !== "admitted") return admission;
    const started = start(check);
    if (started.kind !== "started") {
      ledger.refuse(started.kind);
      return started;
    }
    const answer = await started.answer;
    if (answer === undefined) {
      ledger.refuse("away");
      return { kind: "away", retryAfterMs: AWAY_RETRY_MS };
    }
    if (started.repeated) ledger.refuse("repeated");
    if (!admission.drop) return { kind: "answered", answer };
    ledger.refuse("dropped");
    return { kind: "dropped" };
  }

  type Start =
    | { kind: "started"; answer: Promise<Answer | undefined>; repeated: boolean }
    | { kind: "conflict" }
    | { kind: "limited"; retryAfterMs: number };

  function start(check: Check<Answer>): Start {
    const nowMs = clock.nowMs();
    const known = answers.find(check.bizSeq, nowMs);
    if (known !== undefined) {
      if (known.fingerprint !== check.fingerprint) return { kind: "conflict" };
      return { kind: "started", answer: known.answer, repeated: true };
    }
    const retryAfterMs = answers.fullMs(nowMs) ?? quota.takeIdentifier(nowMs, check.identifier);
    if (retryAfterMs !== undefined) return { kind: "limited", retryAfterMs };
    const answer = work(check);
    answers.keep(check.bizSeq, { fingerprint: check.fingerprint, atMs: nowMs, answer });
    return { kind: "started", answer, repeated: false };
  }

  async function work(check: Check<Answer>): Promise<Answer | undefined> {
    try {
      await manners.work(check.bizSeq);
      const answer = check.lookUp(clock.nowMs());
      if (answer === undefined) answers.forget(check.bizSeq);
      else ledger.bill(answer.result);
      return answer;
    } catch (error) {
      answers.forget(check.bizSeq);
      throw error;
    }
  }

  function readOrRefuse(read: () => Check<Answer>): Check<Answer> {
    try {
      return read();
    } catch (error) {
      if (error instanceof FieldError) ledger.refuse("malformed");
      throw error;
    }
  }

  return {
    manners,
    async check(read) {
      ledger.receive();
      const check = readOrRefuse(read);
      const delivery = await deliver(check);
      log.info({ source: id, bizSeq: check.bizSeq, delivery: delivery.kind }, "check");
      return delivery;
    },
    async outcome(bizSeq) {
      const away = manners.awayMs();
      if (away !== undefined) return { kind: "away", retryAfterMs: away };
      const answer = await answers.find(bizSeq, clock.nowMs())?.answer;
      return answer === undefined ? { kind: "unknown" } : { kind: "answered", answer };
    },
  };
}
