import { createInterface } from "node:readline";
import { readAuditConfig } from "../src/config.ts";
import { startAudit } from "../src/server.ts";

// The service as main.ts starts it, in a process of its own: node --expose-gc soak-process.ts. Answers each line with
// what it holds after a collection, in bytes.
const server = await startAudit(readAuditConfig(process.env));
process.stdout.write(`${JSON.stringify({ message: "serving", grpc: server.grpcPort, admin: server.adminPort })}\n`);
for await (const _ of createInterface({ input: process.stdin })) {
  globalThis.gc?.();
  process.stdout.write(`${process.memoryUsage().heapUsed}\n`);
}
