import { runMain } from "@fujie/kit/runtime";
import { migrationsDir, readConfig, startAuth } from "./server.ts";

await runMain({ service: "auth", readConfig, migrationsDir, start: startAuth });
