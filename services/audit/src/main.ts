import { runMain } from "@fujie/kit/runtime";
import { readAuditConfig } from "./config.ts";
import { migrationsDir, startAudit } from "./server.ts";

await runMain({ service: "audit", readConfig: readAuditConfig, migrationsDir, start: startAudit });
