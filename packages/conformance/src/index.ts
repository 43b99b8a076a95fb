/** The conformance suite of fujie.source.v1, and its reports (SZ-9, SZ-12). */
export { type ClaimElements, claimTypes, digestElements } from "./claim-types.ts";
export { contractVersion } from "./contract.ts";
export { openControl } from "./control.ts";
export {
  type CaseReport,
  encodeReport,
  isReportSigned,
  NONCE_FORM,
  openReport,
  parseSignature,
  type Report,
  ReportError,
  type ReportSignature,
  signReport,
  testerKeyIdOf,
  verdictOf,
} from "./report.ts";
export { renderReportPage } from "./report-page.ts";
export { type RunOptions, runSuite } from "./run.ts";
export { readSubjects, SubjectsError } from "./subjects.ts";
export { type SuiteCase, suiteCaseIds, suiteCases } from "./suite/index.ts";
