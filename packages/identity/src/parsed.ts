/** What every parser of this package answers: the value, or one reason out of a closed union. Parsers never throw. */
export type Parsed<Value, Reason extends string> = { ok: true; value: Value } | { ok: false; reason: Reason };

export function accepted<Value>(value: Value): { ok: true; value: Value } {
  return { ok: true, value };
}

export function refused<Reason extends string>(reason: Reason): { ok: false; reason: Reason } {
  return { ok: false, reason };
}
