import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";

/** A step did not go as it must. */
export class JourneyError extends Error {
  override readonly name = "JourneyError";
}

export function expectThat(condition: boolean, what: string): asserts condition {
  if (!condition) throw new JourneyError(`expected: ${what}`);
}

/** The reason (google.rpc.ErrorInfo) of a refused call. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof ConnectError)) return error instanceof Error ? error.message : String(error);
  return error.findDetails(ErrorInfoSchema)[0]?.reason ?? Code[error.code];
}

/** All that a failed call tells: reason, fields, trace id. */
export function describeError(error: unknown): string {
  if (!(error instanceof ConnectError)) return error instanceof Error ? error.message : String(error);
  const fields = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
  const violations = fields.map(({ field, description }) => ` ${field}: ${description};`).join("");
  const trace = error.findDetails(ErrorInfoSchema)[0]?.metadata["trace_id"] ?? "unknown";
  return `${reasonOf(error)} (${error.rawMessage})${violations} trace ${trace}`;
}

/** Runs a call that must be refused with one of these reasons, and returns it. */
export async function expectRefusal(call: Promise<unknown>, ...reasons: readonly string[]): Promise<string> {
  const outcome = await call.then(
    () => "accepted",
    (error: unknown) => reasonOf(error),
  );
  expectThat(reasons.includes(outcome), `a refusal with ${reasons.join(" or ")}, got ${outcome}`);
  return outcome;
}

/** Asks again and again until the answer satisfies, within a bound. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T>,
  satisfies: (answer: T) => boolean,
  { timeoutMs = 15_000, everyMs = 50 } = {},
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (satisfies(answer)) return answer;
    expectThat(performance.now() < endMs, `${what} within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
