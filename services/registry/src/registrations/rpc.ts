import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type GetRegistrationRequest,
  type RegisterPersonRequest,
  RegisterPersonRequestSchema,
  RegisterPersonResponseSchema,
  type RegistrationService,
  RegistrationState,
} from "@fujie/api/fujie/registry/v1/registrations";
import { isUuid, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { type Owners, subjectOf } from "@fujie/kit/serve";
import { createNudge } from "@fujie/kit/timers";
import { insertAccount } from "../accounts/store.ts";
import type { Context } from "../context.ts";
import { issueEnrolment } from "../enrolments/issue.ts";
import { recordingRefusals } from "../refusals.ts";
import { claimIdentifier } from "../subjects/store.ts";
import { identifierDigests, storeIdentity } from "../subjects/vault.ts";
import { requireAcceptance } from "./acceptance.ts";
import { agreementAt } from "./agreements/index.ts";
import { type Applicant, dayInChina, readApplicant } from "./rules.ts";
import { askAboutRegistration } from "./settle.ts";
import { findRegistration, insertRegistration, type Registration, registrationSubject } from "./store.ts";

/** How often a waiting reader looks for a change that another process made. */
const LOOK_MS = 250;
/** Readers that wait at once, in this process; one more is answered as it stands. */
const WAITING_MAX = 500;
/** After which the sweeper asks, should the process die between storing and asking. */
const FIRST_QUESTION_MS = 15_000;

export function registrationService(context: Context) {
  let waiting = 0;
  return {
    getAgreement: () => readAgreement(context),
    registerPerson: recordingRefusals(context, "registration.submitted", (request, call) =>
      registerPerson(context, request, call),
    ),
    getRegistration: async (request, call) => {
      if (waiting >= WAITING_MAX) return replyOf(await requireRegistration(context, request.registrationId));
      waiting += 1;
      try {
        return await awaitRegistration(context, request, call.signal);
      } finally {
        waiting -= 1;
      }
    },
  } satisfies ServiceImpl<typeof RegistrationService>;
}

/** The application that entered a registration owns it. */
export async function registrationOwners({ db }: Pick<Context, "db">, id: string): Promise<Owners | undefined> {
  const registration = isUuid(id) ? await findRegistration(db, id) : undefined;
  return registration === undefined ? undefined : { applications: [registration.applicationId] };
}

function readAgreement({ clock }: Pick<Context, "clock">) {
  const { version, sha256, textZh, textEn, noticeVersion, noticeZh, noticeEn } = agreementAt(clock.nowMs());
  return { version, sha256, textZh, textEn, noticeVersion, noticeZh, noticeEn };
}

async function registerPerson(context: Context, request: RegisterPersonRequest, call: HandlerContext) {
  const { db, clock, environment } = context;
  // Informed and agreed first: nothing personal is looked at before (NI-13).
  const terms = requireAcceptance(request.acceptance, clock.nowMs());
  const today = dayInChina(clock.nowMs());
  const applicant = readApplicant(request, { today, allowFictional: environment === "sandbox" });
  const { subject, application } = subjectOf(call);
  if (application === undefined) throw new DomainError("OBJECT_FORBIDDEN");

  let enrolmentCode = "";
  const stored = await transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: RegisterPersonRequestSchema, responseSchema: RegisterPersonResponseSchema },
      async () => {
        const now = new Date(clock.nowMs());
        const accountId = uuidv7(clock.nowMs());
        const registration = {
          registrationId: uuidv7(clock.nowMs()),
          accountId,
          applicationId: application,
          enteredBy: subject,
          createdAt: now,
          expireAt: new Date(now.getTime() + context.periods.registrationMs),
          askAt: new Date(now.getTime() + FIRST_QUESTION_MS),
          ...terms,
        };
        await storeApplicant(context, tx, accountId, applicant);
        await insertAccount(tx, accountId, now);
        const digests = identifierDigests(context.ring, "citizen-id", applicant.citizenId.number);
        await insertRegistration(tx, registration, digests);
        enrolmentCode = await issueEnrolment(context, tx, { kind: "account", id: accountId });
        await recordEvent(context, tx, call, {
          type: "registration.submitted",
          outcome: "PENDING",
          subject: accountId,
          details: { registration_id: registration.registrationId, agreement_version: terms.agreementVersion },
        });
        return create(RegisterPersonResponseSchema, {
          registrationId: registration.registrationId,
          accountId,
          state: RegistrationState.SUBMITTED,
          expireTime: timestampFromDate(registration.expireAt),
        });
      },
    ),
  );
  const identity = { identifier: applicant.citizenId.number, name: applicant.name.name };
  const before = await requireRegistration(context, stored.registrationId);
  if (before.state === "SUBMITTED") await askAboutRegistration(context, call, stored.registrationId, identity, call);
  // The code is in the first answer only: a repetition goes without.
  return { ...replyOf(await requireRegistration(context, stored.registrationId)), enrolmentCode };
}

async function storeApplicant(
  { ring }: Pick<Context, "ring">,
  tx: Parameters<typeof storeIdentity>[0],
  accountId: string,
  { citizenId, name, loginName }: Applicant,
): Promise<void> {
  const identity = { kind: "person", identifier: citizenId.number, name: name.name, loginName } as const;
  await storeIdentity(tx, ring, accountId, identity);
  const isFree = await claimIdentifier(tx, "login-name", identifierDigests(ring, "login-name", loginName), accountId);
  if (!isFree) throw new DomainError("LOGIN_NAME_TAKEN");
}

/** The registration once it is no longer SUBMITTED, or as it stands when the time is over. */
async function awaitRegistration(
  context: Pick<Context, "db" | "timers">,
  { registrationId, waitMs }: GetRegistrationRequest,
  signal: AbortSignal,
) {
  const { db, timers } = context;
  const news = createNudge();
  const unlisten = db.listen(registrationSubject(registrationId), news.nudge);
  try {
    let registration = await requireRegistration(context, registrationId);
    for (let left = waitMs; left > 0 && registration.state === "SUBMITTED" && !signal.aborted; left -= LOOK_MS) {
      await news.wait(Math.min(LOOK_MS, left), timers, signal);
      registration = await requireRegistration(context, registrationId);
    }
    return replyOf(registration);
  } finally {
    unlisten();
  }
}

async function requireRegistration({ db }: Pick<Context, "db">, registrationId: string): Promise<Registration> {
  const registration = await findRegistration(db, registrationId);
  // Answers as a foreign one.
  if (registration === undefined) throw new DomainError("OBJECT_FORBIDDEN");
  return registration;
}

function replyOf({ registrationId, accountId, state, expireAt }: Registration) {
  return { registrationId, accountId, state: RegistrationState[state], expireTime: timestampFromDate(expireAt) };
}
