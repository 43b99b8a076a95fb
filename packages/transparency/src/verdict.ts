/** The outcome of a check: a union rather than a boolean, so that "not checked" can't be mistaken for "right". */
export type Verdict<Reason extends string> = { readonly ok: true } | Refusal<Reason>;

export type Refusal<Reason extends string> = { readonly ok: false; readonly reason: Reason };

export const ACCEPTED = { ok: true } as const;

export function refuse<Reason extends string>(reason: Reason): Refusal<Reason> {
  return { ok: false, reason };
}
