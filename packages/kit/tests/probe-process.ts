import { runUntilSignal } from "../src/serve/index.ts";
import { startProbe } from "./probe-server.ts";

await using probe = await startProbe();
const running = runUntilSignal(probe.server);
process.stdout.write("serving\n");
await running;
