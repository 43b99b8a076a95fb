import { strict as assert } from "node:assert";
import { after, before, test } from "node:test";
import { accessCases, runAccessCase } from "../src/access-suite/index.ts";
import { CarelessService, ProbeService } from "./gen/fujie/testing/v1/testing_pb.js";
import { foreignId, mintToken, type Probe, startProbe } from "./probe-server.ts";

const publicMethods = ["Echo", "Bounce", "Wait", "Fail", "CountDown", "Sum"].map(
  (name) => `${ProbeService.typeName}/${name}`,
);
let probe: Probe & AsyncDisposable;

before(async () => {
  probe = await startProbe();
});
after(() => probe[Symbol.asyncDispose]());

function target() {
  return {
    address: `127.0.0.1:${probe.server.grpcPort}`,
    mintToken: (scopes: readonly string[]) =>
      mintToken({ scopes, subject: foreignId, organisation: foreignId, application: foreignId }),
  };
}

for (const each of accessCases([ProbeService], { publicMethods })) {
  test(each.title, () => runAccessCase(target(), each));
}

test("every method that is not open has a case, and every scope meets a foreign object", () => {
  const cases = accessCases([ProbeService], { publicMethods });
  const covered = new Set(cases.map(({ method }) => method.name));
  assert.equal(covered.size + publicMethods.length, ProbeService.methods.length);
  const foreign = cases.filter(({ expected }) => expected === "OBJECT_FORBIDDEN");
  assert.deepEqual(
    foreign.map(({ method }) => method.name),
    ["Measure", "ReadAccount", "ReadOrganisation", "ReadOrganisation", "ReadApplication", "ReadWidget", "Chat"],
  );
});

test("an open method that is not listed, a listed one that is not open, and a missing rule fail the suite", () => {
  assert.throws(() => accessCases([ProbeService], { publicMethods: publicMethods.slice(1) }), /open to everybody/);
  const listed = [...publicMethods, `${ProbeService.typeName}/Administer`];
  assert.throws(() => accessCases([ProbeService], { publicMethods: listed }), /no such open method/);
  assert.throws(() => accessCases([CarelessService]), /no access rule/);
});

test("a case fails when the server lets the call pass", async () => {
  const [each] = accessCases([ProbeService], { publicMethods });
  assert.ok(each);
  await assert.rejects(runAccessCase(target(), { ...each, scopes: ["probe.read"] }));
});
