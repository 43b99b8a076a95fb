export { type Layout, type Ports, SERVICES, type ServiceName } from "./layout.ts";
export { type Platform, type PlatformOptions, startPlatform } from "./platform.ts";
export type { Program } from "./processes.ts";
