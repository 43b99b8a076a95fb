export { checkpointVerifiers } from "./checkpoints.ts";
export { type Finding, type LogReport, type VerifyOptions, verifyLog } from "./verify.ts";
