import type { Reason } from "@fujie/kit/errors";
import { isRefusal, refusalRecorder } from "@fujie/kit/record";

/** INVALID_ARGUMENT by code, yet a failed proof, or a read without a purpose. */
const FAILED_PROOFS: ReadonlySet<Reason> = new Set<Reason>([
  "DECISION_SIGNATURE_INVALID",
  "DOCUMENT_DIGEST_MISMATCH",
  "PURPOSE_REQUIRED",
]);

export const recordingRefusals = refusalRecorder((reason) => FAILED_PROOFS.has(reason) || isRefusal(reason));
