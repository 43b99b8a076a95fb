import { type BenchOptions, createBench } from "./bench.ts";
import { contractVersion } from "./contract.ts";
import { CaseFailed, CaseNotApplicable } from "./outcome.ts";
import { type CaseReport, REPORT_FORMAT_VERSION, type Report, verdictOf } from "./report.ts";
import { REACHABLE, type SuiteCase, suiteCaseIds, suiteCases } from "./suite/index.ts";
import { openWire } from "./wire.ts";

export interface RunOptions extends BenchOptions {
  /** What the registry issued for this test. */
  readonly nonce: string;
  readonly testerKeyId: string;
  /** Called after each case. */
  readonly onCase: (report: CaseReport, zh: string) => void;
}

const DETAIL_MAX = 2_000;

/** Runs the whole suite against a source and tells what was found. A case that breaks has failed. */
export async function runSuite(options: RunOptions): Promise<Report> {
  const startMs = options.clock.nowMs();
  const said: string[] = [];
  const { endpoint, peerName, ca, client } = options;
  using wire = openWire({ endpoint, peerName, ca, client, onReply: (reply) => said.push(reply.said) });
  const bench = createBench(options, wire, said);
  const cases: CaseReport[] = [];
  for (const one of suiteCases) {
    const unreachable = cases[0]?.id === REACHABLE && cases[0].result !== "PASSED";
    const startedMs = performance.now();
    const end = unreachable
      ? { result: "FAILED" as const, detail: "left out: the source cannot be reached" }
      : await endOf(one, () => one.run(bench));
    const report = reportOf(one, end, performance.now() - startedMs);
    cases.push(report);
    options.onCase(report, one.title.zh);
  }
  return {
    formatVersion: REPORT_FORMAT_VERSION,
    sourceId: options.sourceId,
    endpoint,
    nonce: options.nonce,
    contractVersion: contractVersion(),
    testerKeyId: options.testerKeyId,
    startTime: new Date(startMs).toISOString(),
    endTime: new Date(options.clock.nowMs()).toISOString(),
    cases,
    verdict: verdictOf(cases, suiteCaseIds),
  };
}

type End = Partial<Pick<CaseReport, "reason" | "detail">> & Pick<CaseReport, "result">;

async function endOf({ id }: SuiteCase, run: () => Promise<string | undefined>): Promise<End> {
  try {
    const detail = await run();
    return { result: "PASSED", ...(detail === undefined ? {} : { detail }) };
  } catch (error) {
    if (error instanceof CaseNotApplicable) return { result: "NOT_APPLICABLE", reason: error.message };
    if (error instanceof CaseFailed) return { result: "FAILED", detail: error.message };
    // Its message may hold anything.
    return { result: "FAILED", detail: `${id} could not be run: ${error instanceof Error ? error.name : "unknown"}` };
  }
}

function reportOf({ id, title, requirement }: SuiteCase, end: End, elapsedMs: number): CaseReport {
  const { result, reason = "", detail = "" } = end;
  const milliseconds = Math.round(elapsedMs);
  return { id, title: title.en, requirement, result, reason, milliseconds, detail: detail.slice(0, DETAIL_MAX) };
}
