import { createHash } from "node:crypto";
import { agreement202601 } from "./2026-01.ts";
import type { AgreementText } from "./agreement.ts";

export interface Agreement extends AgreementText {
  /** Over the Chinese text in UTF-8. */
  readonly sha256: Uint8Array;
}

/** Every version that ever was in force, oldest first. */
const agreements: readonly Agreement[] = [agreement202601].map((text) => ({
  ...text,
  sha256: createHash("sha256").update(text.textZh).digest(),
}));

/** The agreement in force at a time: rules are versioned, and what counts is when something happened. */
export function agreementAt(atMs: number, known: readonly Agreement[] = agreements): Agreement {
  const inForce = known.findLast(({ inForceFrom }) => Date.parse(inForceFrom) <= atMs);
  if (inForce === undefined) throw new RangeError("no agreement was in force then");
  return inForce;
}
