/** Input that a source refuses, unbilled. The message never repeats the value. */
export class FieldError extends Error {
  readonly field: string;
  constructor(field: string, problem: string) {
    super(`${field} ${problem}`);
    this.name = "FieldError";
    this.field = field;
  }
}

/** The fields of a JSON object. Throws FieldError for anything else, and for a field that is not `known` (NI-9). */
export function readFields(value: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FieldError("body", "is not a JSON object");
  }
  if (Object.keys(value).some((field) => !known.includes(field))) {
    // The name itself may be anything that the caller sent: it is not repeated.
    throw new FieldError("body", "has a field that is not asked for");
  }
  return { ...value };
}

/** The text if it has the form. Throws FieldError. */
export function requireText(value: unknown, field: string, form: RegExp): string {
  if (typeof value === "string" && form.test(value)) return value;
  throw new FieldError(field, "is missing or not of its form");
}
