/** Trust sources to develop and test against: real servers with the manners of real sources and fictional people. */
export {
  type CaId,
  type SandboxClient,
  SandboxError,
  type SettingsChange,
  type SourceId,
  sandboxClient,
  sourceIds,
} from "./client.ts";
export { type Sandbox, type SandboxOptions, startSandbox } from "./server.ts";
