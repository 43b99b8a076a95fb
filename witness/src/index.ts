export { readSettings, type WitnessConfig, type WitnessLog } from "./config.ts";
export { createWitnessKey, readWitnessKey, verifierKeyOf, type WitnessKey } from "./key.ts";
export { type RunningWitness, startWitness, type WitnessOptions } from "./server.ts";
