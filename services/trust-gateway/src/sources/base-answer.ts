import { type Answer, type Check, isPlausibleCheckTime, SourceError } from "./source.ts";

/** What both bases answer with. */
export interface BaseAnswer {
  readonly verdict: Answer["verdict"];
  readonly checkedAtMs: number;
  /** The answer's fields as they came. */
  readonly fields: Readonly<Record<string, unknown>>;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;

/** Reads a base's answer to exactly this check. Throws SourceError REFUSED for anything that is none: never a pass. */
export function readBaseAnswer(json: unknown, check: Check, nowMs: number): BaseAnswer {
  if (typeof json !== "object" || json === null) throw refused("is no object");
  const fields: Record<string, unknown> = Object.fromEntries(Object.entries(json));
  if (fields["bizSeq"] !== check.bizSeq) throw refused("is to another check");
  const time = fields["checkTime"];
  const checkedAtMs = typeof time === "string" && TIME.test(time) ? Date.parse(time) : Number.NaN;
  if (!isPlausibleCheckTime(checkedAtMs, check.askedAtMs, nowMs)) throw refused("has an impossible time");
  return { verdict: readVerdict(fields["result"]), checkedAtMs, fields };
}

function readVerdict(result: unknown): Answer["verdict"] {
  if (result === "MATCH" || result === "MISMATCH" || result === "NO_RECORD") return result;
  throw refused("has an unknown result");
}

export function refused(what: string): SourceError {
  return new SourceError("REFUSED", `the answer ${what}`);
}
