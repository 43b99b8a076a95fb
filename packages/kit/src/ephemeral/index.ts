export type { Bucket, Ephemeral, Expiry, Taken } from "./ephemeral.ts";
export { type MemoryEphemeralOptions, memoryEphemeral } from "./memory.ts";
