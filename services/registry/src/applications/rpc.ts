import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  ApplicationKind,
  type ApplicationPurpose,
  type ApplicationService,
  type GetApplicationRequest,
  type ListApplicationsRequest,
  type RegisterApplicationRequest,
  RegisterApplicationRequestSchema,
  RegisterApplicationResponseSchema,
  type UpdateApplicationRequest,
  UpdateApplicationRequestSchema,
  UpdateApplicationResponseSchema,
} from "@fujie/api/fujie/registry/v1/applications";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { openPage, pageSize, signPage, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { readUpdateMask } from "@fujie/kit/masks";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { publishApplication } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { issueEnrolment } from "../enrolments/issue.ts";
import { requireOperator } from "../operators/acting.ts";
import { bumpPolicy } from "../policy/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { type Application, type ClaimTypeName, isClaimTypeName, MUTABLE_FIELDS, type Purpose } from "./application.ts";
import { applyUpdate, requireRegistrable } from "./rules.ts";
import {
  findApplication,
  insertApplication,
  lockApplication,
  pageApplications,
  setEnabled,
  updateApplication,
} from "./store.ts";

const SCOPE = "registry.applications.write";
const FIRST_ID = "00000000-0000-0000-0000-000000000000";
const FIRST_REVISION = 1;

export function applicationService(context: Context) {
  return {
    registerApplication: recordingRefusals(context, "application.registered", (request, call) =>
      registerApplication(context, request, call),
    ),
    updateApplication: recordingRefusals(context, "application.updated", (request, call) =>
      changeApplication(context, request, call),
    ),
    listApplications: (request, call) => listApplications(context, request, call),
    suspendApplication: recordingRefusals(context, "application.suspended", async ({ applicationId }, call) => ({
      suspendTime: timestampFromMs(await switchApplication(context, applicationId, false, call)),
    })),
    resumeApplication: recordingRefusals(context, "application.resumed", async ({ applicationId }, call) => ({
      resumeTime: timestampFromMs(await switchApplication(context, applicationId, true, call)),
    })),
    getApplication: (request) => getApplication(context, request),
  } satisfies ServiceImpl<typeof ApplicationService>;
}

async function registerApplication(context: Context, request: RegisterApplicationRequest, call: HandlerContext) {
  const { db, clock, environment } = context;
  await requireOperator(context, call, SCOPE);
  const wish = readWish(request);
  requireRegistrable(wish, { allowClearLoopback: environment === "sandbox" });
  const schemas = {
    requestSchema: RegisterApplicationRequestSchema,
    responseSchema: RegisterApplicationResponseSchema,
  };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas, shownOnce: wish.kind !== "NATIVE" }, async () => {
      const now = new Date(clock.nowMs());
      const application = { ...wish, applicationId: uuidv7(now.getTime()), clientId: uuidv7(now.getTime()) };
      const { applicationId, clientId } = application;
      await insertApplication(tx, application, now);
      await publishApplication(tx, { ...application, enabled: true, revision: FIRST_REVISION });
      await bumpPolicy(tx);
      await recordEvent(context, tx, call, {
        type: "application.registered",
        outcome: "SUCCESS",
        applicationId,
        details: { client_id: clientId, kind: application.kind },
      });
      const isPublic = application.kind === "NATIVE";
      const enrolmentCode = isPublic ? "" : await issueEnrolment(context, tx, { kind: "client", id: clientId });
      const etag = etagOf({ revision: FIRST_REVISION });
      return create(RegisterApplicationResponseSchema, { applicationId, clientId, enrolmentCode, etag });
    }),
  );
}

function readWish(
  request: RegisterApplicationRequest,
): Omit<Application, "applicationId" | "clientId" | "enabled" | "revision"> {
  const { providerName, name, redirectUris, scopes, sector, rateLimitPerSecond, dailyLimit, weight } = request;
  return {
    providerName,
    name,
    kind: request.kind === ApplicationKind.NATIVE ? "NATIVE" : "CONFIDENTIAL",
    redirectUris,
    scopes,
    sector,
    purposes: readPurposes(request.purposes),
    rateLimitPerSecond: requireRate(rateLimitPerSecond),
    dailyLimit,
    weight,
  };
}

function readPurposes(purposes: readonly ApplicationPurpose[]): Purpose[] {
  return purposes.map(({ purpose, claimTypes, legalBases }, i) => ({
    purpose,
    claimTypes: claimTypes.map((type) => requireClaimType(type, i)),
    legalBases,
  }));
}

const RATE_MAX = 100_000;

function requireRate(ratePerSecond: number): number {
  if (ratePerSecond > RATE_MAX) {
    throw fieldError("FIELD_INVALID", "rate_limit_per_second", `must be at most ${RATE_MAX}`);
  }
  return ratePerSecond;
}

function requireClaimType(type: ClaimType, purposeIndex: number): ClaimTypeName {
  const name = ClaimType[type];
  if (isClaimTypeName(name)) return name;
  throw fieldError("FIELD_INVALID", `purposes[${purposeIndex}].claim_types`, "holds an unknown claim type");
}

async function changeApplication(context: Context, request: UpdateApplicationRequest, call: HandlerContext) {
  const { db, clock, environment } = context;
  await requireOperator(context, call, SCOPE);
  const fields = readUpdateMask(request.updateMask, MUTABLE_FIELDS);
  const { applicationId, providerName, name, redirectUris, scopes } = request;
  const { rateLimitPerSecond = 0, dailyLimit = 0, weight = 0 } = request;
  const wish = {
    providerName,
    name,
    redirectUris,
    scopes,
    purposes: readPurposes(request.purposes),
    rateLimitPerSecond: requireRate(rateLimitPerSecond),
    dailyLimit,
    weight,
  };
  const schemas = {
    requestSchema: UpdateApplicationRequestSchema,
    responseSchema: UpdateApplicationResponseSchema,
  };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas }, async () => {
      const before = await lockApplication(tx, applicationId);
      if (before === undefined) throw new DomainError("APPLICATION_NOT_FOUND");
      if (request.etag !== etagOf(before)) throw new DomainError("ETAG_MISMATCH");
      const after = applyUpdate(before, fields, wish);
      requireRegistrable(after, { allowClearLoopback: environment === "sandbox" });
      const changed = (await updateApplication(tx, applicationId, after)) ?? after;
      await publishApplication(tx, changed);
      await bumpPolicy(tx);
      await recordEvent(context, tx, call, {
        type: "application.updated",
        outcome: "SUCCESS",
        applicationId,
        details: { paths: [...fields].toSorted().join(" ") },
      });
      const updateTime = timestampFromMs(clock.nowMs());
      return create(UpdateApplicationResponseSchema, { etag: etagOf(changed), updateTime });
    }),
  );
}

/** Whoever changes an application says what he has read: the etag stands for its revision. */
function etagOf({ revision }: Pick<Application, "revision">): string {
  return String(revision);
}

async function listApplications(context: Context, request: ListApplicationsRequest, call: HandlerContext) {
  const { db, ring } = context;
  await requireOperator(context, call, SCOPE);
  const size = pageSize(request.pageSize, { default: 50, max: 100 });
  const filter = ["applications"];
  const [after = FIRST_ID] = openPage(request.pageToken, filter, ring) ?? [];
  const found = await pageApplications(db, String(after), size + 1);
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  return {
    applications: page.map((application) => ({
      ...application,
      kind: ApplicationKind[application.kind],
      redirectUris: [...application.redirectUris],
      scopes: [...application.scopes],
      purposes: purposesOf(application),
      etag: etagOf(application),
    })),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.applicationId] }, ring),
  };
}

/** Switches an application on or off, again if need be. Returns when, in milliseconds. */
async function switchApplication(context: Context, applicationId: string, enabled: boolean, call: HandlerContext) {
  const { db, clock } = context;
  await requireOperator(context, call, SCOPE);
  await transaction(db, async (tx) => {
    const application = await setEnabled(tx, applicationId, enabled);
    if (application === undefined) throw new DomainError("APPLICATION_NOT_FOUND");
    await publishApplication(tx, application);
    await bumpPolicy(tx);
    const type = enabled ? "application.resumed" : "application.suspended";
    await recordEvent(context, tx, call, { type, outcome: "SUCCESS", applicationId });
  });
  return clock.nowMs();
}

async function getApplication({ db }: Pick<Context, "db">, { applicationId }: GetApplicationRequest) {
  const application = await findApplication(db, applicationId);
  if (application === undefined) throw new DomainError("OBJECT_FORBIDDEN");
  const { clientId, name, providerName, enabled, scopes } = application;
  const own = { applicationId, clientId, name, providerName, enabled };
  return { ...own, purposes: purposesOf(application), scopes: [...scopes], etag: etagOf(application) };
}

function purposesOf({ purposes }: Pick<Application, "purposes">) {
  return purposes.map(({ purpose, claimTypes, legalBases }) => ({
    purpose,
    claimTypes: claimTypes.map((type) => ClaimType[type]),
    legalBases: [...legalBases],
  }));
}
