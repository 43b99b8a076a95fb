/**
 * The gateway as it runs, as a process of its own: node server.ts, settings in the environment and the key of the
 * tokens as a JWK in BENCH_JWK. Prints its ports when it serves, and its CPU time and memory for each line that comes.
 */
import { createInterface } from "node:readline";
import { systemClock } from "@fujie/kit/clock";
import { createRevocationList, staticJwks } from "@fujie/kit/tokens";
import { readGatewayConfig, startTrustGateway } from "../../../services/trust-gateway/src/server.ts";

const { BENCH_JWK = "", ...environment } = process.env;
const gateway = await startTrustGateway(readGatewayConfig(environment), {
  jwks: staticJwks({ keys: [JSON.parse(BENCH_JWK)] }),
  // Auth is not part of the bench, and nobody is revoked.
  revocations: { ...createRevocationList({ clock: systemClock }), isStale: () => false },
});
process.stdout.write(`${JSON.stringify({ grpcPort: gateway.grpcPort, adminPort: gateway.adminPort })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "gc") globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const { heapUsed, rss } = process.memoryUsage();
  process.stdout.write(`${JSON.stringify({ cpuMicros: user + system, heapUsed, rss })}\n`);
}
await gateway.close();
process.exit(0);
