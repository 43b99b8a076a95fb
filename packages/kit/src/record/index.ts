export { auditDestination } from "./deliver.ts";
export {
  describeEvent,
  type Origin,
  type RecordedEvent,
  recordEvent,
  recordEvents,
  recordRefusal,
} from "./record-event.ts";
export { isRefusal, recordingRefusal, refusalRecorder } from "./refusals.ts";
