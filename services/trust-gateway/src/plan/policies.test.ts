import { strict as assert } from "node:assert";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ClaimPolicySchema } from "@fujie/api/fujie/trust/v1/policy";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { isSourceKind } from "@fujie/identity";
import { DomainError } from "@fujie/kit/errors";
import { builtInPolicies } from "./built-in.ts";
import { policyAt, readClaimPolicies, unknownKindsIn } from "./policies.ts";

type Init = MessageInitShape<typeof ClaimPolicySchema>;

const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 0, 1);
const kind = (value: string, rank = 1) => ({ source: { case: "kind", value } as const, rank });
const source = (value: string, rank = 1) => ({ source: { case: "sourceId", value } as const, rank });

const first: Init = {
  policyId: "first",
  claimType: ClaimType.PERSON_TWO_ELEMENT,
  startTime: timestampFromMs(START),
  endTime: timestampFromMs(START + DAY_MS),
  voices: [kind("population-base", 2), source("city-bank")],
};
const second: Init = {
  ...first,
  policyId: "second",
  startTime: timestampFromMs(START + DAY_MS),
  endTime: undefined,
  needed: 1,
  reuseSeconds: 60,
};

const read = (...policies: Init[]) => readClaimPolicies(policies.map((policy) => create(ClaimPolicySchema, policy)));

test("a question is judged under the policy of its moment, and by the built-in one where the registry has none", () => {
  const policies = read(second, first);
  const at = (timeMs: number) => policyAt(policies, "PERSON_TWO_ELEMENT", timeMs)?.id;
  assert.deepEqual([START - 1, START, START + DAY_MS - 1, START + DAY_MS, START + 900 * DAY_MS].map(at), [
    "built-in/person-two-element/2025-01-01",
    "first",
    "first",
    "second",
    "second",
  ]);
  assert.equal(policyAt(policies, "LEGAL_PERSON", START)?.id, "built-in/legal-person/2025-01-01");
  assert.equal(policyAt(policies, "LEGAL_PERSON", 0), undefined);
  assert.deepEqual(policyAt(policies, "PERSON_TWO_ELEMENT", START), {
    id: "first",
    claimType: "PERSON_TWO_ELEMENT",
    startMs: START,
    endMs: START + DAY_MS,
    voices: [
      { kind: "population-base", rank: 2 },
      { sourceId: "city-bank", rank: 1 },
    ],
    needed: 2,
    reuseMs: 0,
    faceThreshold: 0,
    sm2Receipt: false,
  });
});

test("policies that overlap, leave a gap or cannot be met are refused by the name of the field", () => {
  const fieldOf = (...policies: Init[]) => {
    try {
      read(...policies);
      return "accepted";
    } catch (error) {
      return error instanceof DomainError ? `${error.reason} ${error.violations[0]?.field}` : String(error);
    }
  };
  const later = (ms: number): Init => ({ ...second, startTime: timestampFromMs(START + ms) });
  const cases: [string, Init[]][] = [
    ["claim_policies[1].start_time", [first, later(DAY_MS - 1)]],
    ["claim_policies[1].start_time", [first, later(DAY_MS + 1)]],
    ["claim_policies[0].start_time", [second, { ...first, endTime: undefined }]],
    ["claim_policies[1].policy_id", [first, { ...second, policyId: "first" }]],
    ["claim_policies[0].end_time", [{ ...first, endTime: timestampFromMs(START) }]],
    ["claim_policies[0].needed", [{ ...first, needed: 3 }]],
    ["claim_policies[0].needed", [{ ...first, needed: 2, voices: [kind("astrologer")] }]],
    ["claim_policies[0].voices[1]", [{ ...first, voices: [kind("partner"), kind("partner")] }]],
    ["claim_policies[0].voices[1].rank", [{ ...first, voices: [kind("partner", 1), kind("population-base", 2)] }]],
    ["claim_policies[0].voices", [{ ...first, voices: [] }]],
    ["claim_policies[0].reuse_seconds", [{ ...second, claimType: ClaimType.CERTIFICATE_POSSESSION }]],
  ];
  assert.equal(fieldOf(first, second), "accepted");
  for (const [field, policies] of cases) assert.equal(fieldOf(...policies), `FIELD_INVALID ${field}`);
});

test("a kind of a newer release closes its own policy alone: every voice is needed, and who speaks of it is told", () => {
  const voices = [kind("astrologer", 3), kind("population-base", 2), kind("partner")];
  const policies = read(first, { ...second, voices, needed: 1 });
  assert.equal(policyAt(policies, "PERSON_TWO_ELEMENT", START)?.needed, 2);
  const closed = policyAt(policies, "PERSON_TWO_ELEMENT", START + DAY_MS);
  assert.deepEqual([closed?.id, closed?.needed], ["second", 3], "two lawful sources are fewer than it needs");
  const messages = [first, { ...second, voices }].map((policy) => create(ClaimPolicySchema, policy));
  assert.deepEqual(unknownKindsIn(messages), [{ policyId: "second", kinds: ["astrologer"] }]);
});

test("every claim type has a built-in policy whose kinds there are", () => {
  const types = Object.keys(ClaimType).filter((name) => !/^\d/.test(name) && name !== "UNSPECIFIED");
  assert.deepEqual(builtInPolicies.map(({ claimType }) => claimType).toSorted(), types.toSorted());
  for (const { voices } of builtInPolicies) {
    for (const voice of voices) assert.ok("kind" in voice && isSourceKind(voice.kind), JSON.stringify(voice));
  }
});
