import { type Answer, type Check, isPlausibleCheckTime, SourceError } from "./source.ts";

/** What sources answer with that are asked by signed HTTP. */
export interface BaseAnswer {
  /** One of the results that the kind of source gives. */
  readonly result: string;
  readonly checkedAtMs: number;
  /** The answer's fields as they came. */
  readonly fields: Readonly<Record<string, unknown>>;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;

/** Reads an answer to exactly this check. Throws SourceError REFUSED for anything that is none: never a pass. */
export function readBaseAnswer(json: unknown, check: Check, nowMs: number): BaseAnswer {
  if (typeof json !== "object" || json === null) throw refused("is no object");
  const fields: Record<string, unknown> = Object.fromEntries(Object.entries(json));
  if (fields["bizSeq"] !== check.bizSeq) throw refused("is to another check");
  const time = fields["checkTime"];
  const checkedAtMs = typeof time === "string" && TIME.test(time) ? Date.parse(time) : Number.NaN;
  if (!isPlausibleCheckTime(checkedAtMs, check.askedAtMs, nowMs)) throw refused("has an impossible time");
  const result = fields["result"];
  return { result: typeof result === "string" ? result : "", checkedAtMs, fields };
}

/** What most kinds of source say. */
export const plainResults = { MATCH: "MATCH", MISMATCH: "MISMATCH", NO_RECORD: "NO_RECORD" } as const;

/** The verdict that a result stands for. Throws SourceError REFUSED for a result that the kind does not give. */
export function verdictOf(
  { result }: BaseAnswer,
  verdicts: Readonly<Record<string, Answer["verdict"]>>,
): Answer["verdict"] {
  const verdict = Object.hasOwn(verdicts, result) ? verdicts[result] : undefined;
  if (verdict === undefined) throw refused("has an unknown result");
  return verdict;
}

/** An answer that says nothing but its result. */
export function readPlainAnswer(json: unknown, check: Check, level: number, nowMs: number): Answer {
  const answer = readBaseAnswer(json, check, nowMs);
  return { verdict: verdictOf(answer, plainResults), checkedAtMs: answer.checkedAtMs, level };
}

export function refused(what: string): SourceError {
  return new SourceError("REFUSED", `the answer ${what}`);
}

/** For a claim that no source of this kind answers. */
export function unanswerable(): SourceError {
  return new SourceError("REFUSED", "the claim is of a type that this kind of source does not answer");
}
