import { createInterface } from "node:readline";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "@fujie/kit/clock";
import { createRevocationList, staticJwks } from "@fujie/kit/tokens";
import { readGatewayConfig, startTrustGateway } from "../src/server.ts";

// The service as main.ts starts it, in a process of its own: node --expose-gc soak-process.ts. Auth is not there: its
// key is given, and nobody is revoked. Answers each line with what it holds after a collection, in bytes.
const { SOAK_JWK = "", ...environment } = process.env;
const server = await startTrustGateway(readGatewayConfig(environment), {
  jwks: staticJwks({ keys: [JSON.parse(SOAK_JWK)] }),
  revocations: { ...createRevocationList({ clock: systemClock }), isStale: () => false },
});
process.stdout.write(`${JSON.stringify({ message: "serving", grpc: server.grpcPort })}\n`);
for await (const _ of createInterface({ input: process.stdin })) {
  globalThis.gc?.();
  // What is freed outside the heap is freed a turn later.
  await turn();
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  process.stdout.write(`${JSON.stringify({ held: heapUsed + external, rss })}\n`);
}
