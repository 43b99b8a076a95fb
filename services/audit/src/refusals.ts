import { isRefusal, refusalRecorder } from "@fujie/kit/record";

/** What a rule of assistance refuses is told even where the fault is in the input (NI-12). */
export const recordingRefusals = refusalRecorder(
  (reason) => reason.startsWith("CASE_") || reason === "PURPOSE_REQUIRED" || isRefusal(reason),
);
