import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { PutPolicyRequestSchema } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import type { ClaimElements } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import { requireNotBlocked } from "./blocks.ts";
import { capsUnder, readPolicy, sourceTerms } from "./rules.ts";

const read = (change: MessageInitShape<typeof PutPolicyRequestSchema>) =>
  readPolicy(create(PutPolicyRequestSchema, { version: 1n, ...change }));

const nowMs = 1_000_000;
const at = (ms: number) => timestampFromMs(nowMs + ms);
const ring = {
  hmacAll: (_use: string, text: Uint8Array | string) =>
    [2, 1].map((version) => ({ version, digest: createHash("sha256").update(`${version}`).update(text).digest() })),
};
const claim: ClaimElements = { type: "PERSON_TWO_ELEMENT", citizenId: "11019919900101001X", personName: "某" };
const digestOf = (identifier: string, version: number) =>
  new Uint8Array(createHash("sha256").update(`${version}`).update(`fujie-block-identifier-v1\n${identifier}`).digest());

type Rule = NonNullable<MessageInitShape<typeof PutPolicyRequestSchema>["blockRules"]>[number];

/** The rule that refuses, or undefined. */
function blockedBy(rules: readonly Rule[], asking: { applicationId?: string; address?: string } = {}) {
  const { blocks } = read({ blockRules: [...rules] });
  try {
    requireNotBlocked({ ring, clock: { nowMs: () => nowMs } }, blocks, { claim, ...asking });
    return undefined;
  } catch (error) {
    assert.ok(error instanceof DomainError && error.reason === "BLOCKED");
    return error.subject;
  }
}

test("SZ-20.2 a block rule refuses exactly what it names, for as long as it lasts, and says which rule it is", () => {
  const application = { ruleId: "r", target: { case: "applicationId", value: "a" } } as const;
  assert.equal(blockedBy([application], { applicationId: "a" }), "r");
  assert.equal(blockedBy([application], { applicationId: "b" }), undefined);
  assert.equal(blockedBy([application]), undefined, "the registry is no application");
  const over = { ...application, ruleId: "over", expireTime: at(0) };
  assert.equal(blockedBy([over], { applicationId: "a" }), undefined);
  assert.equal(blockedBy([application, over], { applicationId: "a" }), "r", "the longer one counts");
  assert.equal(blockedBy([over, { ...over, ruleId: "on", expireTime: at(1) }], { applicationId: "a" }), "on");

  const type = { ruleId: "t", target: { case: "claimType", value: ClaimType.PERSON_TWO_ELEMENT } } as const;
  assert.equal(blockedBy([type]), "t");
  assert.equal(blockedBy([{ ...type, target: { case: "claimType", value: ClaimType.LEGAL_PERSON } }]), undefined);

  const identifier = (text: string, version: number) =>
    ({
      ruleId: "i",
      target: { case: "identifierHmac", value: digestOf(text, version) },
      hmacKeyVersion: version,
    }) as const;
  assert.equal(blockedBy([identifier(claim.citizenId, 1)]), "i");
  assert.equal(blockedBy([identifier(claim.citizenId, 2)]), "i");
  assert.equal(blockedBy([{ ...identifier(claim.citizenId, 1), hmacKeyVersion: 2 }]), undefined);
  assert.equal(blockedBy([identifier("another", 1)]), undefined);

  const network = (value: string) => ({ ruleId: "n", target: { case: "network", value } }) as const;
  assert.equal(blockedBy([network("203.0.113.0/24")], { address: "203.0.113.9" }), "n");
  assert.equal(blockedBy([network("203.0.113.0/24")], { address: "::ffff:203.0.113.9" }), "n");
  assert.equal(blockedBy([network("203.0.113.0/24")], { address: "203.0.114.9" }), undefined);
  assert.equal(blockedBy([network("2001:db8::/32")], { address: "2001:db8:1::1" }), "n");
  assert.equal(blockedBy([network("203.0.113.0/24")], { address: "2001:db8::1" }), undefined);
});

test("a policy that cannot be read is refused with the field's name", () => {
  const refused = (change: MessageInitShape<typeof PutPolicyRequestSchema>, field: string) => {
    assert.throws(
      () => read(change),
      (error) =>
        error instanceof DomainError && error.reason === "FIELD_INVALID" && error.violations[0]?.field === field,
      field,
    );
  };
  for (const value of ["203.0.113.0", "203.0.113.0/33", "203.0.113.0/x", "nowhere/8", "::/129", "1.2.3.4/8/8"]) {
    refused({ blockRules: [{ ruleId: "n", target: { case: "network", value } }] }, "block_rules[0].network");
  }
  const unknown = { case: "claimType", value: ClaimType.UNSPECIFIED } as const;
  refused({ blockRules: [{ ruleId: "n", target: unknown }] }, "block_rules[0].claim_type");
  refused({ blockRules: [{ ruleId: "n" }] }, "block_rules[0]");
  refused({ sources: [{ sourceId: "a" }, { sourceId: "a" }] }, "sources[1]");
  refused({ applications: [{ applicationId: "" }] }, "applications[0]");
  const reversed = [{ startTime: at(1), endTime: at(1) }];
  refused({ sources: [{ sourceId: "a", maintenance: reversed }] }, "sources[0].maintenance[0]");
  refused({ sources: [{ sourceId: "a", maintenance: [{ startTime: at(1) }] }] }, "sources[0].maintenance[0]");
  const voices = [{ source: { case: "kind", value: "population-base" }, rank: 1 } as const];
  const policy = { claimType: ClaimType.PERSON_TWO_ELEMENT, startTime: at(0), voices };
  refused(
    {
      claimPolicies: [
        { ...policy, policyId: "one" },
        { ...policy, policyId: "two", startTime: at(5) },
      ],
    },
    "claim_policies[1].start_time",
  );
});

test("sources, applications and caps are read with what the registry grants", () => {
  const maintenance = [
    { startTime: at(50), endTime: at(60) },
    { startTime: at(10), endTime: at(20) },
  ];
  const policy = read({
    sources: [
      { sourceId: "a", enabled: true, rateLimitPerSecond: 5, dailyLimit: 7, maintenance },
      { sourceId: "b", enabled: false },
    ],
    applications: [{ applicationId: "x", enabled: true, dailyLimit: 3, weight: 0 }],
    caps: { perIdentifierPerDay: 9 },
  });
  assert.deepEqual(sourceTerms(policy, "a"), { ratePerSecond: 5, perDay: 7 });
  assert.equal(sourceTerms(policy, "b"), undefined);
  assert.equal(sourceTerms(policy, "c"), undefined);
  assert.deepEqual(
    policy.sources.get("a")?.maintenance.map(({ startMs }) => startMs - nowMs),
    [10, 50],
  );
  const application = policy.applications.get("x");
  assert.deepEqual([application?.dailyLimit, application?.weight], [3, 1]);
  assert.equal(capsUnder({ perIdentifierPerDay: 100, perNetworkPerMinute: 50 }, policy.caps).perIdentifierPerDay, 9);
  assert.equal(
    capsUnder({ perIdentifierPerDay: 100, perNetworkPerMinute: 50 }, read({}).caps).perIdentifierPerDay,
    100,
  );
});
