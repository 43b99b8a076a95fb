import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { ApplicationKind, ApplicationService } from "@fujie/api/fujie/registry/v1/applications";
import { ConsentService } from "@fujie/api/fujie/registry/v1/consents";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { ConsentGrantSchema, SignedConsentGrantSchema } from "@fujie/api/fujie/trust/v1/consent";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { canonicalElements, digestFaceImage } from "@fujie/identity";
import {
  appointStaff,
  because,
  becomeRealName,
  person,
  portal,
  registerApplication,
  registerPerson,
  type Staff,
  somebody,
} from "./acts.ts";
import { type Claims, startWorld, type World } from "./world.ts";

const PURPOSE = "housing-fund.withdrawal";

let world: World;
let staff: Staff;
let number = 600;
before(async () => {
  world = await startWorld();
  staff = await appointStaff(world);
});
after(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  number += 10;
});

const consents = () => world.peer(ConsentService);
const grant = (claims: Claims, applicationId: string, more = {}) =>
  consents().grantConsent(
    { requestId: randomUUID(), applicationId, purpose: PURPOSE, claimType: ClaimType.PERSON_TWO_ELEMENT, ...more },
    world.as(claims),
  );

/** The newest policy that the gateway has, once it satisfies. */
async function policyWith(isWanted: (policy: World["gateway"]["policies"][number]) => boolean) {
  for (;;) {
    const found = world.gateway.policies.findLast(isWanted);
    if (found !== undefined) return found;
    await world.pass(20);
  }
}

test("NI-32 a grant binds application, purpose, holder and exactly the holder's own elements, for ten minutes", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const alice = await becomeRealName(world, staff, somebody(number));
  const bob = await becomeRealName(world, staff, somebody(number + 1));
  const given = await grant(alice.claims, applicationId);
  const signed = fromBinary(SignedConsentGrantSchema, Buffer.from(given.consentGrant, "base64url"));
  const read = fromBinary(ConsentGrantSchema, signed.grant);
  assert.deepEqual(
    [read.grantId, read.applicationId, read.purpose, read.claimType, read.accountId],
    [given.grantId, applicationId, PURPOSE, ClaimType.PERSON_TWO_ELEMENT, alice.accountId],
  );
  const [from, until] = [read.grantTime, read.expireTime].map((time) => (time === undefined ? 0 : timestampMs(time)));
  assert.equal((until ?? 0) - (from ?? 0), 600_000);

  const bytes = Buffer.concat([Buffer.from("fujie-consent-grant-v1\n"), signed.grant]);
  const check = { keyId: signed.keyId, use: "consent", service: "registry", signature: signed.signature } as const;
  assert.ok(world.bundle.verify({ ...check, bytes }));
  assert.ok(!world.bundle.verify({ ...check, bytes: Buffer.concat([bytes, Buffer.of(0)]) }));
  const elementsOf = ({ citizenId, name }: ReturnType<typeof somebody>) =>
    canonicalElements({ type: "PERSON_TWO_ELEMENT", citizenId, personName: name });
  const fits = (who: ReturnType<typeof somebody>) =>
    world.gatewayRing.hmacMatches("consent-elements", elementsOf(who), read.elementsHmac);
  assert.ok(fits(somebody(number)));
  assert.ok(!fits(somebody(number + 1)));
  assert.notEqual(bob.accountId, alice.accountId);
  await world.recorded("consent.granted", "SUCCESS", alice.accountId);
});

test("NI-13 no grant for what is not registered, suspended or no claim of a person", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const other = { purposes: [{ purpose: PURPOSE, claimTypes: [ClaimType.LEGAL_PERSON], legalBases: [] }] };
  const { applicationId: elsewhere } = await registerApplication(world, staff, other);
  const { claims } = await becomeRealName(world, staff, somebody(number));
  await assert.rejects(grant(claims, randomUUID()), because("APPLICATION_NOT_FOUND"));
  await assert.rejects(grant(claims, applicationId, { purpose: "marketing" }), because("PURPOSE_NOT_REGISTERED"));
  await assert.rejects(grant(claims, elsewhere), because("PURPOSE_NOT_REGISTERED"));
  const claimType = ClaimType.LEGAL_PERSON;
  await assert.rejects(grant(claims, applicationId, { claimType }), because("CLAIM_UNSUPPORTED"));
  await world.peer(ApplicationService).suspendApplication({ applicationId }, world.as(staff.system));
  await assert.rejects(grant(claims, applicationId), because("APPLICATION_SUSPENDED"));
  const unproven = await registerPerson(world, somebody(number + 1));
  await assert.rejects(grant(person(unproven.accountId), applicationId), because("LEVEL_TOO_LOW"));
});

test("NI-14, NI-32 a person consents to one face, card or number, and the grant is for no other", async () => {
  const claimTypes = [ClaimType.PERSON_FACE, ClaimType.PERSON_CARRIER];
  const { applicationId } = await registerApplication(world, staff, {
    purposes: [{ purpose: PURPOSE, claimTypes, legalBases: [] }],
  });
  const { citizenId, name: personName } = somebody(number);
  const { claims } = await becomeRealName(world, staff, somebody(number));
  const faceImage = Buffer.from("a picture").toString("base64");
  const faceImageDigest = new Uint8Array(Buffer.from(digestFaceImage(faceImage), "hex"));
  const given = await grant(claims, applicationId, { claimType: ClaimType.PERSON_FACE, faceImageDigest });
  const signed = fromBinary(SignedConsentGrantSchema, Buffer.from(given.consentGrant, "base64url"));
  const read = fromBinary(ConsentGrantSchema, signed.grant);
  assert.equal(read.claimType, ClaimType.PERSON_FACE);
  const fits = (image: string) => {
    const elements = canonicalElements({ type: "PERSON_FACE", citizenId, personName, faceImage: image });
    return world.gatewayRing.hmacMatches("consent-elements", elements, read.elementsHmac);
  };
  assert.ok(fits(faceImage));
  assert.ok(!fits(Buffer.from("another picture").toString("base64")));
  const carrier = { claimType: ClaimType.PERSON_CARRIER };
  await assert.rejects(grant(claims, applicationId, carrier), because("CLAIM_INCOMPLETE"));
  await assert.rejects(grant(claims, applicationId, { ...carrier, phone: "12800138000" }), because("PHONE_INVALID"));
  await assert.rejects(grant(claims, applicationId), because("PURPOSE_NOT_REGISTERED"));
});

test("a grant is shown once: its repetition tells so and gives no second one", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const { claims } = await becomeRealName(world, staff, somebody(number));
  const requestId = randomUUID();
  await grant(claims, applicationId, { requestId });
  await assert.rejects(grant(claims, applicationId, { requestId }), because("SECRET_ALREADY_SHOWN"));
  assert.equal((await consents().listConsents({}, world.as(claims))).consents.length, 1);
});

test("NI-13 a withdrawal reaches the gateway at once, is the holder's alone, and may be repeated", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const { claims } = await becomeRealName(world, staff, somebody(number));
  const stranger = await becomeRealName(world, staff, somebody(number + 1));
  const { grantId } = await grant(claims, applicationId);
  const foreign = consents().withdrawConsent({ grantId }, world.as(stranger.claims));
  await assert.rejects(foreign, because("OBJECT_FORBIDDEN"));
  const first = await consents().withdrawConsent({ grantId }, world.as(claims));
  const policy = await policyWith(({ withdrawnGrantIds }) => withdrawnGrantIds.includes(grantId));
  const before = world.gateway.policies.find(({ withdrawnGrantIds }) => !withdrawnGrantIds.includes(grantId));
  assert.ok(policy.version > (before?.version ?? 0n));
  world.time.advance(1_000);
  const again = await consents().withdrawConsent({ grantId }, world.as(claims));
  assert.deepEqual(again.withdrawTime, first.withdrawTime);
});

test("a person sees his own consents, newest first, page by page", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const { claims } = await becomeRealName(world, staff, somebody(number));
  const given: string[] = [];
  for (let i = 0; i < 3; i += 1) {
    world.time.advance(1);
    given.unshift((await grant(claims, applicationId)).grantId);
  }
  const first = await consents().listConsents({ pageSize: 2 }, world.as(claims));
  const second = await consents().listConsents({ pageSize: 2, pageToken: first.nextPageToken }, world.as(claims));
  const seen = [...first.consents, ...second.consents].map(({ grantId }) => grantId);
  assert.deepEqual([seen, second.nextPageToken], [given, ""]);
  const stranger = await becomeRealName(world, staff, somebody(number + 1));
  const foreign = consents().listConsents({ pageToken: first.nextPageToken }, world.as(stranger.claims));
  await assert.rejects(foreign, because("PAGE_TOKEN_INVALID"));
});

test("the gateway is told the whole policy, again every five seconds, and sooner when it changes", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const told = await policyWith(({ applications }) =>
    applications.some((each) => each.applicationId === applicationId),
  );
  assert.deepEqual(
    told.sources.map(({ sourceId, enabled }) => [sourceId, enabled]),
    [
      ["legal-person-base", true],
      ["population-base", true],
    ],
  );
  const application = told.applications.find((each) => each.applicationId === applicationId);
  assert.deepEqual(application?.purposes[0]?.claimTypes, [ClaimType.PERSON_TWO_ELEMENT]);
  const renewals = world.gateway.policies.length;
  world.time.advance(5_000);
  while (world.gateway.policies.length === renewals) await world.pass(20);
  await world.peer(ApplicationService).suspendApplication({ applicationId }, world.as(staff.system));
  const suspended = await policyWith(({ applications }) =>
    applications.some((each) => each.applicationId === applicationId && !each.enabled),
  );
  assert.ok(suspended.version > told.version);
});

test("a gateway that knows a newer version is told one that is newer still", async () => {
  const newest = world.gateway.policies.at(-1)?.version ?? 0n;
  world.gateway.policyVersion = newest + 1_000n;
  world.time.advance(5_000);
  await policyWith(({ version }) => version > newest + 1_000n);
});

test("an application code is good for a day and once; a native application has none", async () => {
  const confidential = await registerApplication(world, staff);
  const redeem = (enrolmentCode: string) =>
    world.peer(DirectoryService).redeemEnrolment({ enrolmentCode, requestId: crypto.randomUUID() });
  world.time.advance(23 * 60 * 60_000);
  const { holder } = await redeem(confidential.enrolmentCode);
  assert.deepEqual(holder, { case: "clientId", value: confidential.clientId });
  await assert.rejects(redeem(confidential.enrolmentCode), because("ENROLMENT_INVALID"));
  const native = { kind: ApplicationKind.NATIVE, redirectUris: ["http://127.0.0.1/callback"], scopes: ["openid"] };
  assert.equal((await registerApplication(world, staff, native)).enrolmentCode, "");
});

test("an application that could leak its users or exceed its kind is not registered", async () => {
  const refused = [
    { redirectUris: ["http://fund.example/callback"] },
    { redirectUris: ["https://fund.example/callback#fragment"] },
    { redirectUris: ["https://user@fund.example/"] },
    { redirectUris: ["https://*.fund.example/"] },
    { redirectUris: ["javascript:alert(1)"] },
    { kind: ApplicationKind.NATIVE, scopes: ["openid"], redirectUris: ["https://fund.example/callback"] },
    { kind: ApplicationKind.NATIVE, scopes: ["trust.verify"], redirectUris: [] },
    { scopes: ["everything"] },
    { scopes: ["openid", "openid"] },
    { rateLimitPerSecond: 4_000_000_000 },
  ];
  for (const wish of refused) {
    await assert.rejects(registerApplication(world, staff, wish), because("FIELD_INVALID"), JSON.stringify(wish));
  }
  await assert.rejects(registerApplication(world, { system: staff.security }), because("SCOPE_MISSING"));
});

test("an application reads its own registration only", async () => {
  const { applicationId, clientId } = await registerApplication(world, staff);
  const claims = { ...portal, sub: clientId, app: applicationId, scope: "application.read" };
  const own = await world.peer(ApplicationService).getApplication({ applicationId }, world.as(claims));
  assert.deepEqual([own.clientId, own.enabled, own.purposes[0]?.purpose], [clientId, true, PURPOSE]);
});

test("suspending and resuming may be repeated; an unknown application is told", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const applications = world.peer(ApplicationService);
  const by = world.as(staff.system);
  for (const _ of [1, 2]) await applications.suspendApplication({ applicationId }, by);
  for (const _ of [1, 2]) await applications.resumeApplication({ applicationId }, by);
  const unknown = applications.suspendApplication({ applicationId: randomUUID() }, by);
  await assert.rejects(unknown, because("APPLICATION_NOT_FOUND"));
});

test("a new follower of registry.changes gets all applications and operators first, and only auth may follow", async () => {
  const { applicationId } = await registerApplication(world, staff);
  const stop = new AbortController();
  const types: string[] = [];
  const names: string[] = [];
  const { ApplicationChangedSchema } = await import("@fujie/api/fujie/registry/v1/events");
  const { anyUnpack } = await import("@bufbuild/protobuf/wkt");
  const feed = world.peer(FeedService).watch({ topic: "registry.changes" }, { signal: stop.signal });
  for await (const { event } of feed) {
    if (event === undefined) break;
    types.push(event.typeUrl.split(".").at(-1) ?? "");
    names.push(anyUnpack(event, ApplicationChangedSchema)?.applicationId ?? "");
    if (types.filter((type) => type === "OperatorChanged").length === 3) break;
  }
  stop.abort();
  assert.ok(names.includes(applicationId));
  const firstOperator = types.indexOf("OperatorChanged");
  assert.ok(types.slice(0, firstOperator).every((type) => type === "ApplicationChanged"));
  const foreign = world.peer(FeedService, "audit").watch({ topic: "registry.changes" });
  await assert.rejects(async () => {
    for await (const _ of foreign) break;
  }, because("PEER_FORBIDDEN"));
});

test("the snapshot of registry.changes is the same in pages of any size", async () => {
  const { snapshotChanges } = await import("../src/changes/snapshot.ts");
  for (let i = 0; i < 2; i += 1) await registerApplication(world, staff);
  const inPagesOf = async (limit: number) => {
    const cursors: string[] = [];
    for (let page = limit; page === limit; ) {
      const items = await snapshotChanges({ db: world.db }, cursors.at(-1), limit);
      cursors.push(...items.map(({ cursor }) => cursor));
      page = items.length;
    }
    return cursors;
  };
  const whole = await inPagesOf(1_000);
  assert.ok(whole.length >= 5);
  for (const limit of [1, 2, 3]) assert.deepEqual(await inPagesOf(limit), whole);
});
