export { DomainError, type DomainErrorDetails, type FieldViolation, fieldError } from "./domain-error.ts";
export { type CanonicalCode, isReason, type Reason, type ReasonEntry, reasons } from "./reasons.ts";
