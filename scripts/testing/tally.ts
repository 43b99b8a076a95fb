import type { FileResult } from "./run-file.ts";
import type { CheckOutcome } from "./static-checks.ts";

/** The counts of a run and what has to be read at its end. */
export type Tally = {
  passed: number;
  failed: number;
  skipped: number;
  failures: { name: string; detail: string }[];
  /** What was not done, by name with the reason. */
  leftOut: { name: string; reason: string; allowed: boolean }[];
};

export function emptyTally(): Tally {
  return { passed: 0, failed: 0, skipped: 0, failures: [], leftOut: [] };
}

export function addCheck(tally: Tally, name: string, outcome: CheckOutcome): Tally {
  if (outcome.status === "passed") return { ...tally, passed: tally.passed + 1 };
  if (outcome.status === "failed") return addFailure(tally, name, outcome.output);
  return addLeftOut(tally, { name, reason: outcome.reason, allowed: true });
}

export function addFailure(tally: Tally, name: string, detail: string): Tally {
  return { ...tally, failed: tally.failed + 1, failures: [...tally.failures, { name, detail }] };
}

/** @param left `allowed` when there was nothing to check; otherwise a strict run fails for it */
export function addLeftOut(tally: Tally, left: Tally["leftOut"][number]): Tally {
  return { ...tally, skipped: tally.skipped + 1, leftOut: [...tally.leftOut, left] };
}

export function addFile(tally: Tally, result: FileResult): Tally {
  const failedHere = result.tests.filter((test) => test.status === "failed");
  const failures = failedHere
    .filter((test) => test.detail !== "")
    .map((test, index) => ({
      name: `${result.file} › ${test.path.join(" › ")}`,
      detail:
        index === 0 && result.output.trim() !== ""
          ? `${test.detail}\noutput of the file:\n${result.output.trim()}`
          : test.detail,
    }));
  const skipped = result.tests.filter((test) => test.status === "skipped");
  return {
    passed: tally.passed + result.tests.filter((test) => test.status === "passed").length,
    failed: tally.failed + failedHere.length,
    skipped: tally.skipped + skipped.length,
    failures: [...tally.failures, ...failures],
    leftOut: [
      ...tally.leftOut,
      ...skipped.map((test) => ({
        name: `${result.file} › ${test.path.join(" › ")}`,
        reason: test.detail === "" ? "skipped by the test" : test.detail,
        allowed: false,
      })),
    ],
  };
}

/** The last line of a run. */
export function summarise(tally: Tally): string {
  const line = `${tally.passed} passed, ${tally.failed} failed`;
  return tally.skipped === 0 ? line : `${line}, ${tally.skipped} skipped`;
}

/** Nothing failed, something ran, and in a strict run nothing that could have run was left out. */
export function succeeded(tally: Tally, strict: boolean): boolean {
  const forgiven = tally.leftOut.every((left) => left.allowed || !strict);
  return tally.failed === 0 && tally.passed > 0 && forgiven;
}
