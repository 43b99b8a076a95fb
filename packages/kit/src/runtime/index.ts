export { openRuntime, type PeerName, type Runtime, type RuntimeOptions, type RuntimeOverrides } from "./runtime.ts";
export { type ServedTopic, type Serving, serve } from "./serve.ts";
