import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { accessCases, runAccessCase, type Standing } from "@fujie/kit/access-suite";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";
import { registryServices } from "../src/server.ts";
import { startWorld, type World } from "./world.ts";

const OPEN = [
  "fujie.registry.v1.RegistrationService/GetAgreement",
  "fujie.registry.v1.OperatorService/OpenCeremony",
  "fujie.registry.v1.OperatorService/BindFirstAdministrators",
];

let world: World;
/** The same object each time: then all calls share a connection. */
let channelCredentials: ChannelCredentials;
before(async () => {
  world = await startWorld();
  channelCredentials = credentials.createSsl(readFileSync(world.caFile));
});
after(() => world[Symbol.asyncDispose]());

for (const each of accessCases(registryServices, { publicMethods: OPEN })) {
  test(each.title, async () => {
    const target = {
      address: world.grpcTarget,
      channelCredentials,
      mintToken: (scopes: readonly string[], { level, authAgeSeconds }: Standing) =>
        world.mintToken({
          sub: randomUUID(),
          kind: "person",
          level: Math.max(1, level),
          age: authAgeSeconds,
          scope: scopes.join(" "),
          app: randomUUID(),
          org: randomUUID(),
          role: "LEGAL_REPRESENTATIVE",
        }),
    };
    await runAccessCase(target, each);
  });
}
