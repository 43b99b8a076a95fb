/** `fujie conform check`: whether a report is genuine, offline. */
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { contractVersion, openReport, parseSignature, ReportError, suiteCaseIds, verdictOf } from "@fujie/conformance";
import { requireOption, UsageError } from "../commands/usage.ts";
import { readBytes, readTesterKeys, readText } from "./tester-keys.ts";

/** 0 only for a genuine report that says PASSED over every case of this suite; anything else is 1. */
export function checkReport(args: readonly string[], write: (line: string) => void): number {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { "tester-keys": { type: "string" }, signature: { type: "string" } },
  });
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageError("fujie conform check FILE --tester-keys FILE");
  const testers = readTesterKeys(requireOption(values["tester-keys"], "tester-keys"));
  const signatureText = readText(values.signature ?? join(dirname(file), "report.sig"));
  try {
    const report = openReport(readBytes(file), parseSignature(signatureText), testers);
    write(`GENUINE: signed by the tester ${report.testerKeyId}`);
    write(`  source ${report.sourceId} at ${report.endpoint}, ${report.startTime} – ${report.endTime}`);
    write(`  nonce ${report.nonce}`);
    if (report.contractVersion !== contractVersion()) write("  WARNING: it is about another version of the contract");
    if (report.verdict === "PASSED" && verdictOf(report.cases, suiteCaseIds) === "FAILED") {
      write("INCOMPLETE: its cases are not those of this version of the suite");
      return 1;
    }
    write(report.verdict);
    return report.verdict === "PASSED" ? 0 : 1;
  } catch (error) {
    if (!(error instanceof ReportError)) throw error;
    write(`NOT GENUINE: ${error.message}`);
    return 1;
  }
}
