import { join } from "node:path";
import { runMain } from "@fujie/kit/main";
import { readConfig } from "./config.ts";

await runMain({
  service: "auth",
  readConfig,
  migrationsDir: join(import.meta.dirname, "../migrations"),
  start: async (config) => (await import("./server.ts")).startAuth(config),
});
