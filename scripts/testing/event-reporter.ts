import type { TestEvent } from "node:test/reporters";
import { inspect } from "node:util";

/** One finished test as this reporter writes it, one JSON object a line. Suites are not tests and are left out. */
export type FinishedTest = {
  /** The names from the outermost suite or test to this one. */
  path: string[];
  status: "passed" | "failed" | "skipped";
  /** Why it was skipped, or how it failed; empty when only a test within it failed, which has its own line. */
  detail: string;
};

/** A reporter for `node --test-reporter`: what the runner needs to count and to name failures exactly. */
export default async function* reportFinished(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const names: string[] = [];
  for await (const event of events) {
    if (event.type === "test:start") names[event.data.nesting] = event.data.name;
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const path = [...names.slice(0, event.data.nesting), event.data.name];
    const finished = describe(event);
    if (finished !== undefined) yield `${JSON.stringify({ path, ...finished })}\n`;
  }
}

/** The outcome of a test; of a suite only a failure of its own, as in a hook. */
function describe(
  event: Extract<TestEvent, { type: "test:pass" | "test:fail" }>,
): Omit<FinishedTest, "path"> | undefined {
  const leftOut = event.data.skip ?? event.data.todo;
  const isSuite = event.data.details.type === "suite";
  if (leftOut !== undefined && leftOut !== false) {
    return { status: "skipped", detail: typeof leftOut === "string" ? leftOut : "" };
  }
  if (event.type === "test:pass") return isSuite ? undefined : { status: "passed", detail: "" };
  const { error } = event.data.details;
  const isOfSubtest = "failureType" in error && error.failureType === "subtestsFailed";
  if (isOfSubtest) return isSuite ? undefined : { status: "failed", detail: "" };
  return { status: "failed", detail: inspect(error.cause ?? error) };
}
