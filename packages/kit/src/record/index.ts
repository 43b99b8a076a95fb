export { auditDestination } from "./deliver.ts";
export { type Origin, type RecordedEvent, recordEvent, recordRefusal } from "./record-event.ts";
