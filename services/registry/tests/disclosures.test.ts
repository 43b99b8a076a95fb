import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { CaseScope, CaseState } from "@fujie/api/fujie/audit/v1/cases";
import { DisclosureService } from "@fujie/api/fujie/registry/v1/disclosures";
import { OperatorRole, OperatorService } from "@fujie/api/fujie/registry/v1/operators";
import { proposalMessage } from "../src/operators/rules.ts";
import { appoint, appointStaff, because, becomeRealName, type Staff, somebody } from "./acts.ts";
import { citizenId, proofOf, startWorld, type World } from "./world.ts";

const DAY_MS = 24 * 60 * 60_000;

describe("with staff", () => {
  let world: World;
  let staff: Staff;
  before(async () => {
    world = await startWorld();
    staff = await appointStaff(world);
  });
  after(() => world[Symbol.asyncDispose]());

  const disclosing = (claims = staff.system) => world.as({ ...claims, scope: "registry.disclose" });
  const disclose = (caseId: string, accountId: string, options = disclosing()) =>
    world.peer(DisclosureService).discloseIdentity({ caseId, accountId }, options);
  const caseAbout = (accountId: string, fields: object = {}): string => {
    const caseId = randomUUID();
    world.cases.set(caseId, {
      caseId,
      state: CaseState.APPROVED,
      accountId,
      scopes: [CaseScope.IDENTITY_BEHIND_NUMBER],
      openedBy: "audit-1",
      decidedBy: "security-1",
      authority: "苏州市公安局",
      documentSha256: Buffer.alloc(32, 7),
      expireTime: timestampFromMs(world.time.clock.nowMs() + DAY_MS),
      ...fields,
    });
    return caseId;
  };

  test("NI-12 against an approved case the identity of its account is disclosed once, and recorded with the document's digest", async () => {
    const who = somebody(3);
    const { accountId } = await becomeRealName(world, staff, who);
    const caseId = caseAbout(accountId);
    const { name, citizenId: number } = await disclose(caseId, accountId);
    assert.deepEqual([name, number], [who.name, who.citizenId]);
    const event = await world.recorded("identity.disclosed", "SUCCESS", accountId);
    assert.deepEqual(Buffer.from(event.digest), Buffer.alloc(32, 7));
    assert.ok(!JSON.stringify(event.details).includes(who.name), "the event itself names nobody");
    await assert.rejects(disclose(caseId, accountId), because("DISCLOSURE_SPENT"));
    await world.recorded("identity.disclosed", "REFUSED");
    await assert.rejects(world.admin.query("DELETE FROM disclosure"), /immutable/);
    const twice = caseAbout(accountId);
    const outcomes = await Promise.allSettled([disclose(twice, accountId), disclose(twice, accountId)]);
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  });

  test("NI-12 another account, another scope, an undecided, refused, expired or unknown case, and audit away are refused", async () => {
    const { accountId } = await becomeRealName(world, staff, somebody(4));
    const refused = (fields: object, reason: string, account = accountId) =>
      assert.rejects(disclose(caseAbout(accountId, fields), account), because(reason));
    await refused({}, "CASE_SUBJECT_REFUSED", randomUUID());
    await refused({ scopes: [CaseScope.AUTHENTICATION_LOG] }, "CASE_SCOPE_REFUSED");
    await refused({ state: CaseState.OPEN }, "CASE_NOT_APPROVED");
    await refused({ state: CaseState.REFUSED }, "CASE_NOT_APPROVED");
    await refused({ state: CaseState.EXPIRED }, "CASE_EXPIRED");
    await refused({ expireTime: timestampFromMs(world.time.clock.nowMs()) }, "CASE_EXPIRED");
    await refused({ decidedBy: staff.system.sub }, "FOUR_EYES_REQUIRED");
    await refused({ openedBy: staff.system.sub }, "FOUR_EYES_REQUIRED");
    await assert.rejects(disclose(randomUUID(), accountId), because("CASE_NOT_FOUND"));
    const away = randomUUID();
    world.cases.set(away, "away");
    await assert.rejects(disclose(away, accountId), because("AUDIT_UNAVAILABLE"));
    const nobody = randomUUID();
    await assert.rejects(disclose(caseAbout(nobody), nobody), because("ACCOUNT_NOT_FOUND"));
    await assert.rejects(
      disclose(caseAbout(accountId), accountId, disclosing(staff.security)),
      because("SCOPE_MISSING"),
    );
  });

  test("SU-7.3.2 a review makes rights last another quarter, never one's own; unreviewed rights lapse by themselves", async () => {
    const operators = world.peer(OperatorService);
    const review = (operatorId: string, claims = staff.security) =>
      operators.reviewOperator({ operatorId }, world.as(claims));
    const first = await review(staff.system.sub);
    const nowMs = world.time.clock.nowMs();
    assert.equal(timestampMs(first.reviewedUntil ?? timestampFromMs(0)), nowMs + 92 * DAY_MS);
    await world.recorded("operator.reviewed");
    await assert.rejects(review(staff.security.sub), because("FOUR_EYES_REQUIRED"));
    await assert.rejects(review(randomUUID()), because("OPERATOR_NOT_FOUND"));
    await assert.rejects(review(staff.counter.sub, staff.system), because("SCOPE_MISSING"));
  });

  test("SU-8.3 a vendor's operator is bounded by his engagement: neither approval nor review carries his rights beyond it", async () => {
    const operators = world.peer(OperatorService);
    const person = { caId: "ca-ecdsa", citizenId: citizenId(920) };
    const propose = (endMs: number) => {
      const requestId = randomUUID();
      const proof = proofOf(person, proposalMessage(requestId, "COUNTER_OPERATOR"));
      const engagementEnd = timestampFromMs(endMs);
      const request = { requestId, role: OperatorRole.COUNTER_OPERATOR, proof, engagementEnd };
      return operators.proposeOperator(request, world.as(staff.system));
    };
    const nowMs = world.time.clock.nowMs();
    await assert.rejects(propose(nowMs), /FIELD_INVALID/);
    await assert.rejects(propose(nowMs + 400 * DAY_MS), /FIELD_INVALID/);
    const { proposalId } = await propose(nowMs + 30 * DAY_MS);
    const { operatorId } = await operators.decideProposal({ proposalId, approved: true }, world.as(staff.security));
    const reviewed = await operators.reviewOperator({ operatorId }, world.as(staff.security));
    assert.equal(timestampMs(reviewed.reviewedUntil ?? timestampFromMs(0)), nowMs + 30 * DAY_MS);
    await assert.rejects(
      world.admin.query(
        `UPDATE operator SET reviewed_until = now() + interval '5 years' WHERE engagement_end IS NOT NULL`,
      ),
      /operator_vendor_lapses/,
    );
    world.time.advance(30 * DAY_MS);
    const late = operators.reviewOperator({ operatorId }, world.as(staff.security));
    await assert.rejects(late, because("OPERATOR_EXPIRED"));
    const counting = { sub: operatorId, kind: "operator", scope: "registry.operators.read" } as const;
    await assert.rejects(operators.listOperators({}, world.as(counting)), because("OPERATOR_RIGHTS_LAPSED"));
    assert.equal(await appoint(world, staff, person, OperatorRole.COUNTER_OPERATOR), operatorId, "proposed anew");
  });
});
