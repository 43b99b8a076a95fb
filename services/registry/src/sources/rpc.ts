/**
 * A source's way to traffic and out of it:
 *
 *   register ─▶ agreement, attestation, two tests by independent testers ─▶ enable ─▶ suspend ◀─▶ resume
 *      └─ system administrator                                               └─ security administrator, never the registrar
 *
 * Whatever the gateway has to know commits together with a raised policy version, which is pushed at once.
 */
import { createHash, randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type BeginSourceTestRequest,
  type FileAgreementRequest,
  type ListSourcesRequest,
  type PlanMaintenanceRequest,
  PlanMaintenanceRequestSchema,
  PlanMaintenanceResponseSchema,
  type RegisterSourceRequest,
  type RegisterTesterRequest,
  type RevokeTesterRequest,
  type SourceService,
  SourceState,
  SourceTestKind,
  type SubmitSourceTestRequest,
} from "@fujie/api/fujie/registry/v1/sources";
import { parseUscc } from "@fujie/identity";
import { openPage, pageSize, signPage, type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import type { Context } from "../context.ts";
import { requireOperator } from "../operators/acting.ts";
import type { Operator } from "../operators/store.ts";
import { bumpPolicy } from "../policy/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { lacksOf, readReport, readTesterKey, requireEnablable, requireRange } from "./rules.ts";
import {
  beginTest,
  deleteMaintenance,
  enableSource,
  fileAgreement,
  fileAttestation,
  findSource,
  findTester,
  insertMaintenance,
  insertSource,
  insertTester,
  lockSource,
  newestTests,
  pageSources,
  reportTest,
  revokeAttestation,
  revokeTester,
  type Source,
  setLimits,
  sourcesTestedBy,
  suspendSource,
} from "./store.ts";

const WRITE = "registry.sources.write";
const APPROVE = "registry.sources.approve";
const SUSPEND = "registry.sources.suspend";
const READ = "trust.sources.read";

const DAY_MS = 86_400_000;
const AGREEMENT_DAYS_MAX = 3_660;
const REPORT_DAYS_MAX = 732;
const MAINTENANCE_DAYS_MAX = 30;
/** What the gateway takes of one source (policy.proto). */
const WINDOWS_MAX = 64;
const TEST_WAIT_MS = 30 * DAY_MS;
const NONCE_BYTES = 32;

export function sourceService(context: Context) {
  const { ring } = context;
  const allowFictional = context.environment === "sandbox";

  /** A change of one source by an operator with the scope, told to the audit log and, where it matters, the gateway. */
  const changing = (
    type: string,
    scope: string,
    change: (tx: Transaction, source: Source, operator: Operator, now: Date) => Promise<"pushed" | "kept">,
  ) =>
    recordingRefusals(context, type, async ({ sourceId }: { readonly sourceId: string }, call: HandlerContext) => {
      const operator = await requireOperator(context, call, scope);
      await transaction(context.db, async (tx) => {
        const source = await requireSource(lockSource(tx, sourceId));
        const pushed = await change(tx, source, operator, new Date(context.clock.nowMs()));
        if (pushed === "pushed") await bumpPolicy(tx);
        await recordEvent(context, tx, call, { type, outcome: "SUCCESS", details: { source_id: sourceId } });
      });
      return {};
    });

  const enabling = (type: string) =>
    changing(type, APPROVE, async (tx, source, operator, now) => {
      // Neither who brought it in nor who stopped it.
      if ([source.registeredBy, source.suspendedBy].includes(operator.operatorId)) {
        throw new DomainError("FOUR_EYES_REQUIRED");
      }
      // Those of a sandbox's setting have no file.
      const isOfSetting = source.kind === null && context.environment === "sandbox";
      if (!isOfSetting) requireEnablable(source, await newestTests(tx, source.sourceId), now);
      await enableSource(tx, source.sourceId, now);
      return "pushed";
    });

  return {
    registerSource: recordingRefusals(context, "source.registered", (request, call) =>
      registerSource(context, request, call, allowFictional),
    ),
    fileAgreement: (request, call) => {
      const sha256 = request.sha256;
      return changing("source.agreement.filed", WRITE, async (tx, { sourceId }, _operator, now) => {
        const range = readRange(request);
        requireRange(range, "end_time", AGREEMENT_DAYS_MAX, now);
        await fileAgreement(tx, sourceId, { sha256, ...range });
        return "kept";
      })(request, call);
    },
    fileAttestation: (request, call) =>
      changing("source.attestation.filed", WRITE, async (tx, { sourceId }, _operator, now) => {
        await fileAttestation(tx, sourceId, request.sha256, now);
        return "kept";
      })(request, call),
    revokeAttestation: changing("source.attestation.revoked", SUSPEND, async (tx, source, _operator, now) => {
      if (source.attestedAt === null) throw new DomainError("ATTESTATION_MISSING", { subject: "attestation" });
      await revokeAttestation(tx, source.sourceId, now);
      return "pushed";
    }),
    registerTester: recordingRefusals(context, "tester.registered", (request, call) =>
      registerTester(context, request, call, allowFictional),
    ),
    revokeTester: recordingRefusals(context, "tester.revoked", (request, call) => revoke(context, request, call)),
    beginSourceTest: recordingRefusals(context, "source.test.begun", (request, call) =>
      beginSourceTest(context, request, call),
    ),
    submitSourceTest: recordingRefusals(context, "source.test.reported", (request, call) =>
      submitSourceTest(context, request, call),
    ),
    enableSource: enabling("source.enabled"),
    suspendSource: changing("source.suspended", SUSPEND, async (tx, { sourceId, enabled }, { operatorId }) => {
      if (!enabled) return "kept";
      await suspendSource(tx, sourceId, operatorId);
      return "pushed";
    }),
    resumeSource: enabling("source.resumed"),
    setSourceLimits: (request, call) =>
      changing("source.limits.set", WRITE, async (tx, { sourceId }) => {
        await setLimits(tx, sourceId, request);
        return "pushed";
      })(request, call),
    planMaintenance: recordingRefusals(context, "source.maintenance.planned", (request, call) =>
      planMaintenance(context, request, call),
    ),
    async cancelMaintenance({ maintenanceId }, call) {
      await requireOperator(context, call, WRITE);
      await transaction(context.db, async (tx) => {
        const sourceId = await deleteMaintenance(tx, maintenanceId);
        if (sourceId === undefined) return;
        await bumpPolicy(tx);
        const details = { source_id: sourceId, maintenance_id: maintenanceId };
        await recordEvent(context, tx, call, { type: "source.maintenance.cancelled", outcome: "SUCCESS", details });
      });
      return {};
    },
    async getSource({ sourceId }, call) {
      await requireOperator(context, call, READ);
      const source = await requireSource(findSource(context.db, sourceId));
      const now = new Date(context.clock.nowMs());
      const lacks = lacksOf(source, await newestTests(context.db, sourceId), now);
      const { contactSealed } = source;
      return {
        source: describe(source),
        lacking: source.kind === null ? [] : lacks.map(({ reason, subject }) => `${reason}: ${subject}`),
        contact: contactSealed === null ? "" : ring.open("payload", contactAad(sourceId), contactSealed).toString(),
      };
    },
    listSources: (request, call) => listSources(context, request, call),
  } satisfies ServiceImpl<typeof SourceService>;
}

async function requireSource(finding: Promise<Source | undefined>): Promise<Source> {
  const source = await finding;
  if (source === undefined) throw new DomainError("SOURCE_NOT_FOUND");
  return source;
}

function contactAad(sourceId: string): string {
  return `source-contact:${sourceId}`;
}

async function registerSource(
  context: Context,
  request: RegisterSourceRequest,
  call: HandlerContext,
  allowFictional: boolean,
) {
  const { operatorId } = await requireOperator(context, call, WRITE);
  const { sourceId, kind, ownerName, contact } = request;
  const ownerUscc = requireUscc(request.ownerUscc, "owner_uscc", allowFictional);
  const contactSealed = context.ring.seal("payload", contactAad(sourceId), Buffer.from(contact));
  await transaction(context.db, async (tx) => {
    const source = { sourceId, kind, ownerName, ownerUscc, contactSealed, registeredBy: operatorId };
    if (!(await insertSource(tx, source, new Date(context.clock.nowMs())))) throw new DomainError("SOURCE_EXISTS");
    await bumpPolicy(tx);
    const details = { source_id: sourceId, kind };
    await recordEvent(context, tx, call, { type: "source.registered", outcome: "SUCCESS", details });
  });
  return {};
}

function requireUscc(text: string, field: string, allowFictional: boolean): string {
  const parsed = parseUscc(text, { allowFictional });
  if (!parsed.ok) throw fieldError("USCC_INVALID", field, "is no unified social credit code");
  return parsed.value.code;
}

async function registerTester(
  context: Context,
  request: RegisterTesterRequest,
  call: HandlerContext,
  allowFictional: boolean,
) {
  const { operatorId } = await requireOperator(context, call, APPROVE);
  const { testerId, name } = request;
  const publicKey = readTesterKey(request.publicKey).export({ format: "der", type: "spki" });
  const uscc = requireUscc(request.uscc, "uscc", allowFictional);
  const tester = { testerId, name, uscc, publicKey, registeredBy: operatorId };
  await transaction(context.db, async (tx) => {
    if (!(await insertTester(tx, tester, new Date(context.clock.nowMs())))) throw new DomainError("TESTER_EXISTS");
    const details = { tester_id: testerId };
    await recordEvent(context, tx, call, { type: "tester.registered", outcome: "SUCCESS", details });
  });
  return {};
}

/** Says which sources rested on the tester: whoever revokes it decides about those that are enabled. */
async function revoke(context: Context, { testerId, reasonCode }: RevokeTesterRequest, call: HandlerContext) {
  const { operatorId } = await requireOperator(context, call, APPROVE);
  const now = new Date(context.clock.nowMs());
  return transaction(context.db, async (tx) => {
    if ((await findTester(tx, testerId)) === undefined) throw new DomainError("TESTER_NOT_FOUND");
    const isNews = await revokeTester(tx, testerId, { operatorId, reasonCode, now });
    const sources = await sourcesTestedBy(tx, testerId, now);
    if (isNews) {
      const details = {
        tester_id: testerId,
        reason_code: reasonCode,
        source_ids: sources.map(({ sourceId }) => sourceId).join(" "),
      };
      await recordEvent(context, tx, call, { type: "tester.revoked", outcome: "SUCCESS", details });
    }
    return { sources: sources.map((source) => ({ sourceId: source.sourceId, state: stateOf(source) })) };
  });
}

async function beginSourceTest(context: Context, request: BeginSourceTestRequest, call: HandlerContext) {
  await requireOperator(context, call, WRITE);
  const { sourceId } = request;
  const kind = request.kind === SourceTestKind.SECURITY ? "SECURITY" : "FUNCTION";
  const nonce = randomBytes(NONCE_BYTES);
  const expireAt = new Date(context.clock.nowMs() + TEST_WAIT_MS);
  await transaction(context.db, async (tx) => {
    await requireSource(lockSource(tx, sourceId));
    await beginTest(tx, { nonce, sourceId, kind, expireAt });
    const details = { source_id: sourceId, kind };
    await recordEvent(context, tx, call, { type: "source.test.begun", outcome: "SUCCESS", details });
  });
  return { nonce: nonce.toString("hex"), expireTime: timestampFromDate(expireAt) };
}

/** Who tested, then that he signed, then what it says, then whether he may: nothing unsigned is read (SZ-12). */
async function submitSourceTest(context: Context, request: SubmitSourceTestRequest, call: HandlerContext) {
  await requireOperator(context, call, WRITE);
  const { sourceId, testerId, report: bytes, signature } = request;
  const now = new Date(context.clock.nowMs());
  const tester = await findTester(context.db, testerId);
  if (tester === undefined) throw new DomainError("TESTER_NOT_INDEPENDENT");
  if (tester.revokedAt !== null) throw new DomainError("TESTER_REVOKED");
  const report = readReport(readTesterKey(tester.publicKey), bytes, signature);
  const validUntil = requireTime(request.expireTime);
  requireRange({ start: now, end: validUntil }, "expire_time", REPORT_DAYS_MAX, now);
  await transaction(context.db, async (tx) => {
    const source = await requireSource(lockSource(tx, sourceId));
    if (source.ownerUscc === tester.uscc) throw new DomainError("TESTER_NOT_INDEPENDENT");
    if (report.sourceId !== sourceId) {
      throw fieldError("TEST_REPORT_INVALID", "report", "is about another source");
    }
    const reportSha256 = createHash("sha256").update(bytes).digest();
    const { nonce, passed } = report;
    const reported = { nonce, sourceId, testerId, reportSha256, passed, validUntil };
    const kind = await reportTest(tx, { ...reported, signature: Buffer.from(signature), reportedAt: now });
    if (kind === undefined) {
      throw fieldError("TEST_REPORT_INVALID", "report", "repeats no nonce that waits for it");
    }
    const details = { source_id: sourceId, tester_id: testerId, kind, passed: String(passed) };
    const event = { type: "source.test.reported", outcome: "SUCCESS", details, digest: reportSha256 } as const;
    await recordEvent(context, tx, call, event);
  });
  return { passed: report.passed };
}

async function planMaintenance(context: Context, request: PlanMaintenanceRequest, call: HandlerContext) {
  const { db, clock } = context;
  await requireOperator(context, call, WRITE);
  const { sourceId } = request;
  const now = new Date(clock.nowMs());
  const range = readRange(request);
  requireRange(range, "end_time", MAINTENANCE_DAYS_MAX, now);
  const schemas = { requestSchema: PlanMaintenanceRequestSchema, responseSchema: PlanMaintenanceResponseSchema };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas }, async () => {
      await requireSource(lockSource(tx, sourceId));
      const maintenanceId = uuidv7(clock.nowMs());
      if (!(await insertMaintenance(tx, { maintenanceId, sourceId, ...range }, now, WINDOWS_MAX))) {
        throw new DomainError("MAINTENANCE_FULL", { subject: "maintenance" });
      }
      await bumpPolicy(tx);
      const details = { source_id: sourceId, maintenance_id: maintenanceId };
      await recordEvent(context, tx, call, { type: "source.maintenance.planned", outcome: "SUCCESS", details });
      return create(PlanMaintenanceResponseSchema, { maintenanceId });
    }),
  );
}

function readRange(times: Pick<FileAgreementRequest, "startTime" | "endTime">): { start: Date; end: Date } {
  return { start: requireTime(times.startTime), end: requireTime(times.endTime) };
}

/** Validation has required it. */
function requireTime(time: Timestamp | undefined): Date {
  if (time === undefined) throw new DomainError("FIELD_INVALID");
  return timestampDate(time);
}

async function listSources(context: Context, request: ListSourcesRequest, call: HandlerContext) {
  const { db, ring } = context;
  await requireOperator(context, call, READ);
  const size = pageSize(request.pageSize, { default: 50, max: 100 });
  const filter = ["sources"];
  const [after = ""] = openPage(request.pageToken, filter, ring) ?? [];
  const found = await pageSources(db, String(after), size + 1);
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  return {
    sources: page.map(describe),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.sourceId] }, ring),
  };
}

function describe(source: Source) {
  const { sourceId, kind, ownerName, ownerUscc, agreementEnd, rateLimitPerSecond, dailyLimit } = source;
  return {
    sourceId,
    kind: kind ?? "",
    ownerName: ownerName ?? "",
    ownerUscc: ownerUscc ?? "",
    state: stateOf(source),
    ...(agreementEnd === null ? {} : { agreementEndTime: timestampFromDate(agreementEnd) }),
    rateLimitPerSecond,
    dailyLimit,
  };
}

function stateOf({ enabled, enabledAt, kind }: Source): SourceState {
  if (enabled) return SourceState.ENABLED;
  return enabledAt === null && kind !== null ? SourceState.REGISTERED : SourceState.SUSPENDED;
}
