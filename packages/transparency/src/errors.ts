/**
 * Input that is not in the one form this package accepts.
 * `field` names the place, `reason` says what is wrong; neither repeats the input, which may be private.
 */
export class FormatError extends Error {
  override readonly name = "FormatError";
  readonly field: string;
  readonly reason: string;

  constructor(field: string, reason: string) {
    super(`${field}: ${reason}`);
    this.field = field;
    this.reason = reason;
  }
}
