import { runMain } from "@fujie/kit/runtime";
import { readRegistryConfig } from "./config.ts";
import { migrationsDir, startRegistry } from "./server.ts";

await runMain({ service: "registry", readConfig: readRegistryConfig, migrationsDir, start: startRegistry });
