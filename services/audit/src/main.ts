import { join } from "node:path";
import { runMain } from "@fujie/kit/main";
import { readAuditConfig } from "./config.ts";

await runMain({
  service: "audit",
  readConfig: readAuditConfig,
  migrationsDir: join(import.meta.dirname, "../migrations"),
  keyDatabase: { migrationsDir: join(import.meta.dirname, "../migrations-keys"), urlsOf: (config) => config },
  start: async (config) => (await import("./server.ts")).startAudit(config),
});
