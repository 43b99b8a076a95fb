import assert from "node:assert/strict";
import { before, test } from "node:test";
import { createFileRegistry, type DescMessage, type FileRegistry, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import fc from "fast-check";
import { LogService } from "../../packages/api/src/gen/fujie/audit/v1/log_pb.js";
import { EvidenceService } from "../../packages/api/src/gen/fujie/trust/v1/evidence_pb.js";
import { PolicyService } from "../../packages/api/src/gen/fujie/trust/v1/policy_pb.js";
import { VerificationService, VerifyRequestSchema } from "../../packages/api/src/gen/fujie/trust/v1/verification_pb.js";
import { buildDescriptorSet, readContract } from "./openapi/contract.ts";
import type { Json } from "./openapi/rules.ts";
import { describeApi, renderOpenapi } from "./openapi.ts";

let contract: FileRegistry;
let document: ReturnType<typeof describeApi>;
let ajv: Ajv2020;

before(async () => {
  contract = await readContract();
  document = describeApi(contract);
  ajv = new Ajv2020({ strict: false, allErrors: true });
  // Types of CommonJS: the function is the module's default member.
  addFormats.default(ajv);
  ajv.addSchema(document, "openapi.json");
});

/** The part of the document at these names. */
function at(...names: string[]): Json {
  return names.reduce<Json>((value, name) => {
    assert.ok(typeof value === "object" && value !== null && !Array.isArray(value) && name in value, names.join(" › "));
    return value[name] ?? null;
  }, document);
}

function schemaOf(typeName: string): ValidateFunction {
  const validate = ajv.getSchema(`openapi.json#/components/schemas/${typeName}`);
  assert.ok(validate, typeName);
  return validate;
}

test("SU-6.3 the page is valid OpenAPI 3.1 whose references all lead somewhere", async () => {
  const specification = new Validator();
  const page = JSON.parse(await renderOpenapi());
  assert.deepEqual(page, document, "the same contract always gives the same page");
  const { valid, errors } = await specification.validate(page);
  assert.ok(valid, JSON.stringify(errors));
  assert.equal(specification.version, "3.1");
  specification.resolveRefs();
  for (const typeName of Object.keys(at("components", "schemas") as object)) schemaOf(typeName);
});

test("every public method but a stream has a path, and no method between services has one", () => {
  const paths = Object.keys(at("paths") as object);
  for (const { name, methodKind, parent } of [...VerificationService.methods, ...LogService.methods]) {
    const isAskedByPeople = methodKind === "unary" && name !== "GetEventProof";
    assert.equal(paths.includes(`/${parent.typeName}/${name}`), isAskedByPeople, name);
  }
  for (const { typeName } of [EvidenceService, PolicyService]) {
    assert.ok(!paths.some((path) => path.startsWith(`/${typeName}/`)), typeName);
  }
});

test("a method names its scope, its reasons and where it is served", () => {
  const path = "/fujie.trust.v1.VerificationService/Verify";
  assert.deepEqual(at("paths", path, "post", "security"), [{ oauth2: ["trust.verify"] }]);
  const answers = at("paths", path, "post", "responses");
  assert.match(JSON.stringify(answers), /"POLICY_STALE"/);
  assert.match(String(at("paths", path, "post", "responses", "403", "description")), /CONSENT_USED/);
  assert.match(JSON.stringify(at("paths", path, "servers")), /127\.0\.0\.1:7032/);
  assert.deepEqual(at("paths", "/fujie.audit.v1.LogService/GetCheckpoint", "post", "security"), []);
});

test("a comment that names a reason which the catalogue lacks stops the generator", async () => {
  const set = await buildDescriptorSet();
  const locations = set.file.flatMap(({ sourceCodeInfo }) => sourceCodeInfo?.location ?? []);
  const comment = locations.find(({ leadingComments }) => leadingComments.includes("/POLICY_STALE"));
  assert.ok(comment);
  comment.leadingComments = comment.leadingComments.replace("/POLICY_STALE", "/POLICY_ROTTEN");
  assert.throws(() => describeApi(createFileRegistry(set)), /VerificationService\/Verify.*UNAVAILABLE\/POLICY_ROTTEN/);
  comment.leadingComments = comment.leadingComments.replace("UNAVAILABLE/POLICY_ROTTEN", "NOT_FOUND/POLICY_STALE");
  assert.throws(() => describeApi(createFileRegistry(set)), /NOT_FOUND\/POLICY_STALE/);
});

test("64-bit integers are strings, bytes base64, times date-times, enums names", () => {
  const entry = schemaOf("fujie.audit.v1.EntrySummary");
  const good = { index: "9007199254740993", time: "2026-01-02T03:04:05.678Z", outcome: "OUTCOME_SUCCESS" };
  assert.ok(entry(good));
  assert.ok(!entry({ ...good, index: 9_007_199_254 }));
  assert.ok(!entry({ ...good, time: "yesterday" }));
  assert.ok(!entry({ ...good, outcome: 1 }));
});

const validator = createValidator();

/** What the servers do: protobuf's JSON parser without unknown fields, then protovalidate. */
function accepts(desc: DescMessage, json: JsonValue): boolean {
  try {
    return validator.validate(desc, fromJson(desc, json)).kind === "valid";
  } catch {
    return false;
  }
}

const text = (maxLength: number) => fc.string({ maxLength, unit: "grapheme" });
const verifyRequests = fc.record(
  {
    requestId: fc.oneof(text(70), fc.uuid()),
    purpose: text(70),
    level: fc.integer({ min: -1, max: 5 }),
    consentGrant: text(4),
    legalBasis: text(4),
    claim: fc.record(
      { type: fc.constantFrom("CLAIM_TYPE_UNSPECIFIED", "CLAIM_TYPE_LEGAL_PERSON", "OTHER"), citizenId: text(70) },
      { requiredKeys: [] },
    ),
    surplus: fc.constant(1),
  },
  { requiredKeys: ["requestId", "claim"] },
);

test("the schema accepts exactly the requests that the servers accept", () => {
  const validate = schemaOf("fujie.trust.v1.VerifyRequest");
  fc.assert(
    fc.property(verifyRequests, (request) => {
      assert.equal(validate(request), accepts(VerifyRequestSchema, request), ajv.errorsText(validate.errors));
    }),
    { numRuns: 300 },
  );
  const good = {
    requestId: "request-1",
    purpose: "p",
    legalBasis: "b",
    claim: { type: "CLAIM_TYPE_PERSON_TWO_ELEMENT", citizenId: "x" },
  };
  assert.ok(validate(good) && accepts(VerifyRequestSchema, good));
  for (const name of ["requestId", "purpose", "legalBasis", "claim"]) {
    const { [name as keyof typeof good]: _left, ...rest } = good;
    assert.ok(!validate(rest) && !accepts(VerifyRequestSchema, rest), name);
  }
});
