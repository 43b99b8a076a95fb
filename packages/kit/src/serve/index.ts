export { type Caller, checkEntry, checkObject, type FindOwners, type Owners, readAccessRule } from "./access.ts";
export type { Address } from "./address.ts";
export { caller, deadlineOf, spanOf, subjectOf, traceIdOf } from "./call.ts";
export { type Handler, handler } from "./handler.ts";
export type { ReadinessCheck } from "./health.ts";
export { defaultLimits, type Limits } from "./limits.ts";
export type { Forbidden } from "./pipeline.ts";
export { type RunningServer, runUntilSignal, type ServerOptions, startServer } from "./server.ts";
