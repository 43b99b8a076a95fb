import { runMain } from "@fujie/kit/runtime";
import { migrationsDir, readGatewayConfig, SERVICE, startTrustGateway } from "./server.ts";

await runMain({ service: SERVICE, readConfig: readGatewayConfig, migrationsDir, start: startTrustGateway });
