import { join } from "node:path";
import { runMain } from "@fujie/kit/main";
import { readRegistryConfig } from "./config.ts";

await runMain({
  service: "registry",
  readConfig: readRegistryConfig,
  migrationsDir: join(import.meta.dirname, "../migrations"),
  start: async (config) => (await import("./server.ts")).startRegistry(config),
});
