/** Ends a case: the source does not do what it must. The text never holds an element. */
export class CaseFailed extends Error {
  override readonly name = "CaseFailed";
}

/** Ends a case: there is nothing to test. The text says why. */
export class CaseNotApplicable extends Error {
  override readonly name = "CaseNotApplicable";
}

export function fail(detail: string): never {
  throw new CaseFailed(detail);
}

export function notApplicable(reason: string): never {
  throw new CaseNotApplicable(reason);
}

/** Fails with all problems at once, at most ten of them. */
export function failIfAny(problems: readonly string[]): void {
  if (problems.length === 0) return;
  const more = problems.length > 10 ? ` … and ${problems.length - 10} more` : "";
  fail(`${problems.slice(0, 10).join("; ")}${more}`);
}
