export { startTelemetry } from "./start-telemetry.ts";
export type {
  CallSpan,
  DatabaseObservation,
  GetHeader,
  PoolState,
  RpcObservation,
  SetHeader,
  Telemetry,
  TelemetryOptions,
} from "./telemetry.ts";
