import { join } from "node:path";
import { runMain } from "@fujie/kit/main";
import { readGatewayConfig } from "./config.ts";

await runMain({
  service: "trust-gateway",
  readConfig: readGatewayConfig,
  migrationsDir: join(import.meta.dirname, "../migrations"),
  start: async (config) => (await import("./server.ts")).startTrustGateway(config),
});
