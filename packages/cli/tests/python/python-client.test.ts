// A stock python3 client against a small server of the kit; the whole platform meets it at the end of the journey.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { IdentityService } from "@fujie/api/fujie/auth/v1/identity";
import { Outcome, VerificationService, type VerifyRequest } from "@fujie/api/fujie/trust/v1/verification";
import { systemClock } from "@fujie/kit/clock";
import { DomainError } from "@fujie/kit/errors";
import { createLogger } from "@fujie/kit/log";
import { handler, type RunningServer, startServer, subjectOf } from "@fujie/kit/serve";
import { startTelemetry } from "@fujie/kit/telemetry";
import { createLocalCa, loadIdentity } from "@fujie/kit/tls";
import type { VerifiedToken } from "@fujie/kit/tokens";
import { NAMED_PEOPLE } from "@fujie/sandbox/people";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { writeDescriptorSet } from "../../../../scripts/descriptor-set.ts";
import { REPOSITORY } from "../../src/up/layout.ts";
import { PYTHON, type PythonReport, runPythonClient } from "./run-python-client.ts";

const TOKEN = "a-token-that-the-test-knows";
const NOTE = "fujie.example/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

const folder = mkdtempSync(join(tmpdir(), "fujie-python-test-"));
const opened = new AsyncDisposableStack();
opened.defer(() => rmSync(folder, { recursive: true, force: true }));
const asked: VerifyRequest[] = [];
let server: RunningServer;
let caFile: string;
let report: PythonReport;

before(async () => {
  const ca = await createLocalCa(folder);
  caFile = ca.caFile;
  const identity = opened.use(loadIdentity(await ca.issueService("audit"), { watchIntervalMs: 0 }));
  const telemetry = opened.use(startTelemetry({ service: "audit", environment: "sandbox", traceRatio: 0 }));
  const loopback = { host: "127.0.0.1", port: 0 };
  server = opened.use(
    await startServer({
      service: "audit",
      environment: "sandbox",
      grpc: { address: loopback, tls: identity },
      http: { address: loopback },
      admin: { address: loopback },
      handlers: [identityHandler(), logHandler(), verificationHandler()],
      tokens: { verify },
      revocations: { isStale: () => false },
      owners: { session: async () => undefined, verification: async () => undefined },
      telemetry,
      log: createLogger({ service: "audit", level: "error" }),
      clock: systemClock,
    }),
  );
  const target = `127.0.0.1:${server.grpcPort}`;
  report = await runPythonClient({
    grpcTargets: { auth: target, audit: target, "trust-gateway": target },
    caFile,
    token: TOKEN,
  });
});
after(() => opened.disposeAsync());

function verify(raw: string): VerifiedToken {
  if (raw !== TOKEN) throw new DomainError("TOKEN_INVALID");
  return {
    subject: "housing-fund",
    kind: "application",
    clientId: "housing-fund",
    application: "0198c0de-0000-7000-8000-00000000000a",
    scopes: new Set(["trust.verify"]),
    level: 0,
    amr: [],
    expiresAtMs: 0,
    issuedAtMs: 0,
    raw,
  };
}

const notServedHere = () => {
  throw new DomainError("METHOD_UNKNOWN");
};

function identityHandler() {
  return handler(IdentityService, {
    whoAmI(_request, call) {
      const { subject, kind, clientId, scopes } = subjectOf(call);
      return { subject, kind, clientId, scopes: [...scopes] };
    },
    listSessions: notServedHere,
    endSession: notServedHere,
  });
}

function logHandler() {
  return handler(LogService, {
    getCheckpoint: () => ({ note: NOTE }),
    getInclusionProof: notServedHere,
    getConsistencyProof: notServedHere,
    getEventProof: notServedHere,
    requestBulkRead: notServedHere,
    getBulkRead: notServedHere,
    approveBulkRead: notServedHere,
    listEntries: notServedHere,
    getEntry: notServedHere,
  });
}

/** The first call meets a fault that passes: the client has to come again, with the same request_id. */
function verificationHandler() {
  return handler(VerificationService, {
    verify(request) {
      asked.push(request);
      if (asked.length === 1) throw new DomainError("POLICY_STALE", { retryDelayMs: 20 });
      return { verification: { verificationId: "v-1", outcome: Outcome.VERIFIED, level: 2 } };
    },
    getVerification: notServedHere,
    batchVerify: notServedHere,
    watchVerifications: notServedHere,
    getReceipt: notServedHere,
    explainPlan: notServedHere,
    listSources: notServedHere,
  });
}

test("SZ-5 a stock python3 client calls three services by stubs that protoc made", () => {
  assert.deepEqual(report.whoAmI, { kind: "application", clientId: "housing-fund", scopes: ["trust.verify"] });
  assert.equal(report.checkpoint, NOTE);
  assert.deepEqual(report.verify, { verificationId: "v-1", outcome: "OUTCOME_VERIFIED", level: 2 });
  assert.equal(asked[0]?.claim?.personName, NAMED_PEOPLE.match.person.name);
});

test("the client repeats a call that may be repeated with the same request_id", () => {
  assert.equal(asked.length, 3);
  assert.equal(new Set(asked.map(({ requestId }) => requestId)).size, 1);
  assert.ok(report.sameAnswerForSameRequestId);
});

test("SU-6.3 the client reads reason, fields, trace and both languages of a refusal", () => {
  const { withoutToken, withoutFields } = report;
  assert.equal(withoutToken?.code, "UNAUTHENTICATED");
  assert.equal(withoutToken.reason, "TOKEN_MISSING");
  assert.match(withoutToken.traceId, /^[0-9a-f]{32}$/);
  assert.match(withoutToken.messages["zh-CN"] ?? "", /缺少访问令牌/);
  assert.equal(withoutFields?.code, "INVALID_ARGUMENT");
  assert.equal(withoutFields.reason, "FIELD_INVALID");
  assert.deepEqual(withoutFields.fields.toSorted(), ["claim", "ground", "purpose", "request_id"]);
});

test("SU-6.3 a client that speaks clear text is refused", () => {
  assert.equal(report.withoutTls, "UNAVAILABLE");
});

test("a refusal over HTTP has the shape that the OpenAPI document states, and its headers", async () => {
  const document = JSON.parse(readFileSync(join(REPOSITORY, "docs/openapi.json"), "utf8"));
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  ajv.addSchema(document, "openapi.json");
  const path = "/fujie.trust.v1.VerificationService/Verify";
  const send = (body: string, authorization: string) =>
    fetch(`http://127.0.0.1:${server.httpPort}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization },
      body,
    });
  for (const [body, token, status, reason] of [
    ["{}", TOKEN, 400, "FIELD_INVALID"],
    ['{"surplus":1}', TOKEN, 400, "REQUEST_MALFORMED"],
    ["{}", "another", 401, "TOKEN_INVALID"],
  ] as const) {
    const response = await send(body, `Bearer ${token}`);
    assert.equal(response.status, status);
    assert.match(response.headers.get("x-trace-id") ?? "", /^[0-9a-f]{32}$/);
    const pointer = path.replaceAll("/", "~1");
    const validate = ajv.getSchema(
      `openapi.json#/paths/${pointer}/post/responses/${status}/content/application~1json/schema`,
    );
    const refusal = (await response.json()) as { details: { debug: { reason?: string } }[] };
    assert.ok(validate);
    assert.ok(validate(refusal), ajv.errorsText(validate.errors));
    assert.equal(refusal.details[0]?.debug.reason, reason);
    Object.assign(refusal.details[0]?.debug ?? {}, { reason: "CONSENT_USED" });
    assert.ok(!validate(refusal), "a reason of another status does not fit");
  }
});

test("SZ-5 protobuf for Python loads the descriptor set with every comment", async () => {
  const file = join(folder, "fujie.binpb");
  await writeDescriptorSet(file);
  const script = `
import sys
from google.protobuf import descriptor_pb2, descriptor_pool
files = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read()).file
pool = descriptor_pool.DescriptorPool()
for each in files:
    pool.Add(each)
method = pool.FindServiceByName("fujie.trust.v1.VerificationService").FindMethodByName("Verify")
comments = [l.leading_comments for f in files for l in f.source_code_info.location]
print(method.input_type.full_name, any("waits up to" in c for c in comments))
`;
  const output = execFileSync(PYTHON, ["-c", script, file], { encoding: "utf8" });
  assert.equal(output.trim(), "fujie.trust.v1.VerifyRequest True");
});

test("docs/platform-teams.md shows the client that these tests run", () => {
  const page = readFileSync(join(REPOSITORY, "docs/platform-teams.md"), "utf8");
  const client = readFileSync(join(import.meta.dirname, "fujie_client.py"), "utf8");
  assert.ok(page.includes(`\`\`\`python\n${client}\`\`\``));
});
