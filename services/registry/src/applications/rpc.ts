import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  ApplicationKind,
  type ApplicationService,
  type GetApplicationRequest,
  type RegisterApplicationRequest,
  RegisterApplicationRequestSchema,
  RegisterApplicationResponseSchema,
} from "@fujie/api/fujie/registry/v1/applications";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { publishApplication } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { issueEnrolment } from "../enrolments/issue.ts";
import { requireOperator } from "../operators/acting.ts";
import { bumpPolicy } from "../policy/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { runOnce } from "../repeatable.ts";
import type { Application, ClaimTypeName } from "./application.ts";
import { requireRegistrable } from "./rules.ts";
import { findApplication, insertApplication, setEnabled } from "./store.ts";

const SCOPE = "registry.applications.write";

const CLAIM_TYPE_NAMES: ReadonlyMap<ClaimType, ClaimTypeName> = new Map([
  [ClaimType.PERSON_TWO_ELEMENT, "PERSON_TWO_ELEMENT"],
  [ClaimType.LEGAL_PERSON, "LEGAL_PERSON"],
  [ClaimType.LEGAL_REPRESENTATIVE, "LEGAL_REPRESENTATIVE"],
]);

export function applicationService(context: Context) {
  return {
    registerApplication: recordingRefusals(context, "application.registered", (request, call) =>
      registerApplication(context, request, call),
    ),
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
      await publishApplication(tx, { ...application, enabled: true });
      await bumpPolicy(tx);
      await recordEvent(context, tx, call, {
        type: "application.registered",
        outcome: "SUCCESS",
        applicationId,
        details: { client_id: clientId, kind: application.kind },
      });
      const isPublic = application.kind === "NATIVE";
      const enrolmentCode = isPublic ? "" : await issueEnrolment(context, tx, { kind: "client", id: clientId });
      return create(RegisterApplicationResponseSchema, { applicationId, clientId, enrolmentCode });
    }),
  );
}

function readWish(request: RegisterApplicationRequest): Omit<Application, "applicationId" | "clientId" | "enabled"> {
  const { providerName, name, redirectUris, scopes, sector, rateLimitPerSecond } = request;
  return {
    providerName,
    name,
    kind: request.kind === ApplicationKind.NATIVE ? "NATIVE" : "CONFIDENTIAL",
    redirectUris,
    scopes,
    sector,
    purposes: request.purposes.map(({ purpose, claimTypes, legalBases }, i) => ({
      purpose,
      claimTypes: claimTypes.map((type) => requireClaimType(type, i)),
      legalBases,
    })),
    rateLimitPerSecond: requireRate(rateLimitPerSecond),
  };
}

const RATE_MAX = 100_000;

function requireRate(ratePerSecond: number): number {
  if (ratePerSecond > RATE_MAX) {
    throw fieldError("FIELD_INVALID", "rate_limit_per_second", `must be at most ${RATE_MAX}`);
  }
  return ratePerSecond;
}

function requireClaimType(type: ClaimType, purposeIndex: number): ClaimTypeName {
  const name = CLAIM_TYPE_NAMES.get(type);
  if (name === undefined) {
    throw fieldError("FIELD_INVALID", `purposes[${purposeIndex}].claim_types`, "holds an unknown claim type");
  }
  return name;
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
  const purposes = application.purposes.map(({ purpose, claimTypes, legalBases }) => ({
    purpose,
    claimTypes: claimTypes.map((type) => ClaimType[type]),
    legalBases: [...legalBases],
  }));
  return { applicationId, clientId, name, providerName, enabled, purposes, scopes: [...scopes] };
}
