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
import { NO_RECORDS, RECORDS, type Records } from "../people/index.ts";
import { createAnswers } from "./answers.ts";
import { FieldError } from "./field-error.ts";
import { AWAY_RETRY_MS, createManners, type Defaults, type Manners, type Surroundings } from "./manners.ts";
import type { Cap } from "./quota.ts";
import type { Settings } from "./settings.ts";

export type Check<Answer> = {
  readonly bizSeq: string;
  /** Equal for equal elements, of fixed length. */
  readonly fingerprint: string;
  /** What the daily cap counts by. */
  readonly identifier: string;
  /** What else is capped, under the source's settings. */
  readonly caps?: (settings: Settings) => readonly Cap[];
  /** Looks the elements up. Undefined: the source fails for this identifier alone. */
  lookUp(checkTimeMs: number, records: Records): Answer | undefined;
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
  /**
   * Reads the request, which may throw FieldError, and checks. Throws the same, and AbortError when the sandbox stops.
   * `front`: the manners of the replica at which the request came in; all replicas know what each of them answered.
   */
  check(read: () => Check<Answer>, front?: Manners): Promise<Delivery<Answer>>;
  /** Faults other than maintenance leave this question alone, so that an unknown outcome can be cleared up. */
  outcome(bizSeq: string, front?: Manners): Promise<Outcome<Answer>>;
};

export function createCheckDesk<Answer extends { readonly result: string }>(
  id: string,
  defaults: Defaults,
  surroundings: Surroundings,
): CheckDesk<Answer> {
  const { clock, log } = surroundings;
  const manners = createManners(id, defaults, surroundings);
  const answers = createAnswers<Answer>();
  const { ledger, quota } = manners;

  async function deliver(check: Check<Answer>, front: Manners): Promise<Delivery<Answer>> {
    const admission = front.admit();
    if (admission.kind !== "admitted") return admission;
    const started = start(check, front);
    if (started.kind !== "started") {
      front.ledger.refuse(started.kind);
      return started;
    }
    const answer = await started.answer;
    if (answer === undefined) {
      front.ledger.refuse("away");
      return { kind: "away", retryAfterMs: AWAY_RETRY_MS };
    }
    if (started.repeated) front.ledger.refuse("repeated");
    if (!admission.drop) return { kind: "answered", answer };
    front.ledger.refuse("dropped");
    return { kind: "dropped" };
  }

  type Start =
    | { kind: "started"; answer: Promise<Answer | undefined>; repeated: boolean }
    | { kind: "conflict" }
    | { kind: "limited"; retryAfterMs: number };

  function start(check: Check<Answer>, front: Manners): Start {
    const nowMs = clock.nowMs();
    const known = answers.find(check.bizSeq, nowMs);
    if (known !== undefined) {
      if (known.fingerprint !== check.fingerprint) return { kind: "conflict" };
      // Another replica does not wait for the one at which the check came in first: whoever is done first has done it.
      const answer = known.front === front.id ? known.answer : work(check, front, known.finish);
      return { kind: "started", answer, repeated: true };
    }
    const retryAfterMs = answers.fullMs(nowMs) ?? takeCaps(check, nowMs);
    if (retryAfterMs !== undefined) return { kind: "limited", retryAfterMs };
    const { finish, answer } = finishOnce(check);
    answers.keep(check.bizSeq, { fingerprint: check.fingerprint, atMs: nowMs, answer, front: front.id, finish });
    return { kind: "started", answer: work(check, front, finish), repeated: false };
  }

  function takeCaps(check: Check<Answer>, nowMs: number): number | undefined {
    const settings = manners.settings();
    return (
      quota.takeIdentifier(nowMs, check.identifier, settings.identifierPerDay) ??
      quota.takeCaps(nowMs, check.caps?.(settings) ?? [])
    );
  }

  function finishOnce(check: Check<Answer>) {
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
    let done = false;
    const finish = (): Promise<Answer | undefined> => {
      if (done) return promise;
      done = true;
      const answer = check.lookUp(clock.nowMs(), manners.settings().noRecord ? NO_RECORDS : RECORDS);
      if (answer === undefined) answers.forget(check.bizSeq);
      else ledger.bill(answer.result);
      resolve(answer);
      return promise;
    };
    return { finish, answer: promise };
  }

  async function work(
    check: Check<Answer>,
    front: Manners,
    finish: () => Promise<Answer | undefined>,
  ): Promise<Answer | undefined> {
    try {
      await front.work(check.bizSeq);
      return await finish();
    } catch (error) {
      answers.forget(check.bizSeq);
      throw error;
    }
  }

  function readOrRefuse(read: () => Check<Answer>, front: Manners): Check<Answer> {
    try {
      return read();
    } catch (error) {
      if (error instanceof FieldError) front.ledger.refuse("malformed");
      throw error;
    }
  }

  return {
    manners,
    async check(read, front = manners) {
      front.ledger.receive();
      const check = readOrRefuse(read, front);
      const delivery = await deliver(check, front);
      log.info({ source: front.id, bizSeq: check.bizSeq, delivery: delivery.kind }, "check");
      return delivery;
    },
    async outcome(bizSeq, front = manners) {
      const away = front.awayMs();
      if (away !== undefined) return { kind: "away", retryAfterMs: away };
      const answer = await answers.find(bizSeq, clock.nowMs())?.answer;
      return answer === undefined ? { kind: "unknown" } : { kind: "answered", answer };
    },
  };
}
