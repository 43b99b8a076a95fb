import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { ApplicationKind, ApplicationService } from "@fujie/api/fujie/registry/v1/applications";
import { ApplicationChangedSchema } from "@fujie/api/fujie/registry/v1/events";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { BadRequestSchema } from "@fujie/api/google/rpc/error_details";
import { DomainError } from "@fujie/kit/errors";
import { appointStaff, because, registerApplication, type Staff } from "./acts.ts";
import { startWorld, type World } from "./world.ts";

let world: World;
let staff: Staff;
before(async () => {
  world = await startWorld();
  staff = await appointStaff(world);
});
after(() => world[Symbol.asyncDispose]());

const applications = () => world.peer(ApplicationService);
const asSystem = () => world.as(staff.system);

const update = (applicationId: string, etag: string, paths: readonly string[], values: object = {}) =>
  applications().updateApplication(
    { requestId: randomUUID(), applicationId, etag, updateMask: { paths: [...paths] }, ...values },
    asSystem(),
  );

async function read(applicationId: string) {
  const claims = { sub: "its-client", kind: "application", app: applicationId, scope: "application.read" } as const;
  return applications().getApplication({ applicationId }, world.as(claims));
}

/** All that is registered of it. */
async function readAll(applicationId: string) {
  for (let pageToken = ""; ; ) {
    const page = await applications().listApplications({ pageSize: 2, pageToken }, asSystem());
    const found = page.applications.find((application) => application.applicationId === applicationId);
    if (found !== undefined) return found;
    if (page.nextPageToken === "") throw new Error("the application is not listed");
    pageToken = page.nextPageToken;
  }
}

/** The newest of "registry.changes", as auth hears it. */
async function lastChange() {
  const { rows } = await world.admin.query<{ value: Uint8Array }>(
    "SELECT value FROM kit.feed_event WHERE topic = 'registry.changes' ORDER BY tx DESC, seq DESC LIMIT 1",
  );
  return fromBinary(ApplicationChangedSchema, rows[0]?.value ?? new Uint8Array());
}

const countRows = async (from: string) =>
  (await world.admin.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${from}`)).rows[0]?.count;
const policyVersion = async () =>
  (await world.admin.query<{ version: string }>("SELECT version FROM policy")).rows[0]?.version;
/** Whatever an update would leave behind. */
const traces = async () => [
  await policyVersion(),
  await countRows("kit.feed_event WHERE topic = 'registry.changes'"),
  await countRows("kit.request"),
];

test("an update changes the fields that its mask names and no other; auth, the gateway and the audit log hear of it", async () => {
  const { applicationId, etag } = await registerApplication(world, staff);
  const before = await readAll(applicationId);
  assert.equal(before.etag, etag);
  const version = await policyVersion();
  const values = {
    name: "Housing Fund 2",
    scopes: ["openid", "trust.verify"],
    // Present, but not named: ignored.
    providerName: "Somebody else",
    redirectUris: ["https://elsewhere.example/callback"],
  };
  const { etag: next } = await update(applicationId, etag, ["scopes", "name"], values);
  assert.notEqual(next, etag);
  const after = await readAll(applicationId);
  assert.deepEqual(after, { ...before, name: values.name, scopes: values.scopes, etag: next });
  assert.equal((await read(applicationId)).etag, next);

  const change = await lastChange();
  assert.deepEqual(
    [change.applicationId, change.name, change.scopes, change.redirectUris],
    [applicationId, values.name, values.scopes, before.redirectUris],
  );
  assert.notEqual(await policyVersion(), version);
  const event = await world.recorded("application.updated");
  assert.equal(event.applicationId, applicationId);
  assert.deepEqual(event.details, { paths: "name scopes" }, "the paths are recorded, not the values");
});

test("a masked field that is absent is cleared; the names cannot be", async () => {
  const { applicationId, etag } = await registerApplication(world, staff, {
    rateLimitPerSecond: 7,
    dailyLimit: 500,
    weight: 3,
  });
  const { dailyLimit, weight } = await readAll(applicationId);
  assert.deepEqual([dailyLimit, weight], [500, 3]);
  const clearable = ["redirect_uris", "scopes", "purposes", "rate_limit_per_second", "daily_limit", "weight"];
  const { etag: next } = await update(applicationId, etag, clearable);
  const cleared = await readAll(applicationId);
  assert.deepEqual(
    [cleared.redirectUris, cleared.scopes, cleared.purposes, cleared.rateLimitPerSecond],
    [[], [], [], 0],
  );
  assert.deepEqual([cleared.dailyLimit, cleared.weight], [0, 0]);
  await assert.rejects(update(applicationId, next, ["weight"], { weight: 101 }), naming("weight"));
  await assert.rejects(
    update(applicationId, next, ["daily_limit"], { dailyLimit: 2_000_000_001 }),
    naming("daily_limit"),
  );
  for (const field of ["name", "provider_name"]) {
    await assert.rejects(update(applicationId, next, ["scopes", field], { scopes: ["openid"] }), naming(field));
  }
  assert.deepEqual(await readAll(applicationId), cleared);
  const purposes = [{ purpose: "tax.return", claimTypes: [ClaimType.LEGAL_PERSON], legalBases: ["tax-law.1"] }];
  await update(applicationId, next, ["purposes", "rate_limit_per_second", "daily_limit", "weight"], {
    ...{ purposes, rateLimitPerSecond: 9, dailyLimit: 1_000, weight: 100 },
  });
  const known = () => world.gateway.policies.at(-1)?.applications.find((each) => each.applicationId === applicationId);
  for (let tries = 0; known()?.rateLimitPerSecond !== 9 && tries < 100; tries += 1) await world.pass(20);
  assert.deepEqual([known()?.rateLimitPerSecond, known()?.purposes[0]?.purpose], [9, "tax.return"]);
  assert.deepEqual([known()?.dailyLimit, known()?.weight], [1_000, 100]);
});

test("every bad mask is MASK_INVALID, names update_mask and stores nothing", async () => {
  const { applicationId, etag } = await registerApplication(world, staff);
  const [before, left] = [await readAll(applicationId), await traces()];
  const masks: Record<string, readonly string[] | undefined> = {
    absent: undefined,
    empty: [],
    wildcard: ["*"],
    "wildcard among others": ["name", "*"],
    unknown: ["nickname"],
    nested: ["purposes.purpose"],
    "nested in a repeated field": ["purposes.0"],
    duplicate: ["name", "scopes", "name"],
    "immutable id": ["application_id"],
    "immutable kind": ["name", "kind"],
    "immutable sector": ["sector"],
    "immutable client id": ["client_id"],
    "output-only enabled": ["enabled"],
    "output-only etag": ["etag"],
    "the request's own field": ["request_id"],
    "the mask itself": ["update_mask"],
    "empty path": ["name", ""],
    "two in one": ["name,scopes"],
    "not the proto name": ["providerName"],
  };
  for (const [kind, paths] of Object.entries(masks)) {
    const updateMask = paths === undefined ? {} : { updateMask: { paths: [...paths] } };
    const request = { requestId: randomUUID(), applicationId, etag, name: "Changed", scopes: [], ...updateMask };
    const call = applications().updateApplication(request, asSystem());
    await assert.rejects(call, naming("update_mask", "MASK_INVALID"), kind);
  }
  assert.deepEqual(await readAll(applicationId), before);
  assert.deepEqual(await traces(), left);
});

test("an update says what it has read: after another's change it is ETAG_MISMATCH, and of two at once one wins", async () => {
  const { applicationId, etag } = await registerApplication(world, staff);
  const rename = (name: string, from = etag) => update(applicationId, from, ["name"], { name });
  const outcomes = await Promise.allSettled([rename("First"), rename("Second")]);
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  await assert.rejects(rename("Third"), because("ETAG_MISMATCH"));
  await assert.rejects(rename("Fourth", "no etag of ours"), because("ETAG_MISMATCH"));
  await assert.rejects(rename("Fifth", ""), naming("etag"));
  const { etag: now, name } = await readAll(applicationId);
  assert.ok(["First", "Second"].includes(name));
  await applications().suspendApplication({ applicationId }, asSystem());
  await assert.rejects(rename("Sixth", now), because("ETAG_MISMATCH"));
  const { etag: suspended } = await readAll(applicationId);
  await rename("Seventh", suspended);
  assert.equal((await readAll(applicationId)).enabled, false, "an update resumes nothing");
});

test("the same request_id updates once and gives the first answer; with other contents it is refused", async () => {
  const { applicationId, etag } = await registerApplication(world, staff);
  const request = {
    requestId: randomUUID(),
    applicationId,
    etag,
    updateMask: { paths: ["name"] },
    name: "Once",
  };
  const first = await applications().updateApplication(request, asSystem());
  assert.deepEqual(await applications().updateApplication(request, asSystem()), first);
  assert.equal((await readAll(applicationId)).etag, first.etag);
  const other = { ...request, name: "Twice" };
  await assert.rejects(applications().updateApplication(other, asSystem()), because("REQUEST_ID_REUSED"));
});

test("an update has to pass the rules of a registration, of the kind that the application has", async () => {
  const { applicationId, etag } = await registerApplication(world, staff, {
    kind: ApplicationKind.NATIVE,
    redirectUris: ["http://127.0.0.1/callback"],
    scopes: ["openid"],
  });
  const before = await readAll(applicationId);
  const wrong: [field: string, path: string, values: object][] = [
    ["redirect_uris[0]", "redirect_uris", { redirectUris: ["https://app.example/callback"] }],
    ["scopes[1]", "scopes", { scopes: ["openid", "trust.verify"] }],
    ["scopes", "scopes", { scopes: ["openid", "openid"] }],
    ["rate_limit_per_second", "rate_limit_per_second", { rateLimitPerSecond: 100_001 }],
    ["purposes[0].claim_types", "purposes", { purposes: [{ purpose: "a.b", claimTypes: [99] }] }],
    ["name", "name", { name: "" }],
  ];
  for (const [field, path, values] of wrong) {
    await assert.rejects(update(applicationId, etag, [path], values), naming(field));
  }
  assert.deepEqual(await readAll(applicationId), before);
  await assert.rejects(update(randomUUID(), etag, ["name"], { name: "Nobody" }), because("APPLICATION_NOT_FOUND"));
  const security = { ...staff.security, scope: "registry.applications.write" };
  const list = applications().listApplications({}, world.as(security));
  await assert.rejects(
    list,
    because("SCOPE_MISSING"),
    "a security administrator registers nothing, whatever his token says",
  );
  const request = { requestId: randomUUID(), applicationId, etag, updateMask: { paths: ["name"] }, name: "Mine" };
  await assert.rejects(applications().updateApplication(request, world.as(security)), because("SCOPE_MISSING"));
  await world.recorded("application.updated", "REFUSED");
});

/** A refusal with this field among its violations. */
function naming(field: string, reason = "FIELD_INVALID"): (error: unknown) => boolean {
  return (error) => {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    const details = cause instanceof ConnectError ? cause.findDetails(BadRequestSchema) : [];
    const violations =
      cause instanceof DomainError ? cause.violations : details.flatMap(({ fieldViolations }) => fieldViolations);
    assert.ok(
      violations.some((violation) => violation.field === field),
      `names ${violations.map((violation) => violation.field).join(", ")}`,
    );
    return because(reason)(error);
  };
}
