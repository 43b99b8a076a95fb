import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { EvidenceService } from "@fujie/api/fujie/trust/v1/evidence";
import { PolicyService } from "@fujie/api/fujie/trust/v1/policy";
import { UsageService } from "@fujie/api/fujie/trust/v1/usage";
import { VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { accessCases, runAccessCase } from "@fujie/kit/access-suite";
import { ConfigError } from "@fujie/kit/config";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";
import { readGatewayConfig } from "../src/config.ts";
import { startWorld, type World } from "./world.ts";

let world: World;
/** The same object each time: then all calls share a connection. */
let channelCredentials: ChannelCredentials;
before(async () => {
  world = await startWorld();
  channelCredentials = credentials.createSsl(readFileSync(world.caFile));
});
after(() => world[Symbol.asyncDispose]());

for (const each of accessCases([VerificationService, EvidenceService, PolicyService, UsageService])) {
  test(each.title, () =>
    runAccessCase(
      {
        address: `127.0.0.1:${world.gateway.grpcPort}`,
        channelCredentials,
        mintToken: (scopes) => world.mintToken({ scope: scopes.join(" "), app: randomUUID() }),
      },
      each,
    ),
  );
}

test("an older policy is ignored, and the answer tells the version in force", async () => {
  const policies = world.client(PolicyService);
  const empty = { applications: [], sources: [], withdrawnGrantIds: [] };
  const newer = await policies.putPolicy({ version: 100n, ...empty });
  assert.equal(newer.version, 100n);
  const older = await policies.putPolicy({ version: 99n, ...empty });
  assert.deepEqual([older.version, older.applyTime], [100n, newer.applyTime]);
});

test("the settings are refused with the sources file's entry and field", () => {
  const environment = { ...world.environment, FUJIE_ENVIRONMENT: "production" };
  assert.throws(
    () => readGatewayConfig(environment),
    (error) =>
      error instanceof ConfigError &&
      /FUJIE_SOURCES_FILE sources\[0\] \(population-base\): sandbox is true/.test(error.message),
  );
});
