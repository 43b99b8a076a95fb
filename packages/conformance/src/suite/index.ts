/** The published suite of fujie.source.v1, in the order in which it runs. */
import { assertionCases } from "./assertions.ts";
import type { SuiteCase } from "./case.ts";
import { describeCases } from "./describe.ts";
import { faultCases } from "./faults.ts";
import { idempotencyCases } from "./idempotency.ts";
import { limitCases } from "./limits.ts";
import { malformedCases } from "./malformed.ts";
import { privacyCases } from "./privacy.ts";
import { transportCases } from "./transport.ts";
import { verdictCases } from "./verdicts.ts";

export type { SuiteCase } from "./case.ts";
export { REACHABLE } from "./transport.ts";

export const suiteCases: readonly SuiteCase[] = [
  ...transportCases,
  ...describeCases,
  ...verdictCases,
  ...assertionCases,
  ...idempotencyCases,
  ...malformedCases,
  ...limitCases,
  ...faultCases,
  ...privacyCases,
];

export const suiteCaseIds: readonly string[] = suiteCases.map(({ id }) => id);
