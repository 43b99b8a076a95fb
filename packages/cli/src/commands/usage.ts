/** The command line was not understood; the exit code is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export function requireOption(value: string | undefined, name: string): string {
  if (value === undefined || value === "") throw new UsageError(`--${name} is missing (see: fujie help)`);
  return value;
}
