import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type ConsentService,
  type GrantConsentRequest,
  GrantConsentRequestSchema,
  GrantConsentResponseSchema,
  type ListConsentsRequest,
  type WithdrawConsentRequest,
} from "@fujie/api/fujie/registry/v1/consents";
import { canonicalElements } from "@fujie/identity";
import { isUuid, openPage, pageSize, signPage, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { type Owners, subjectOf } from "@fujie/kit/serve";
import { requireRealName } from "../accounts/acting.ts";
import { findApplication } from "../applications/store.ts";
import type { Context } from "../context.ts";
import { bumpPolicy } from "../policy/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { dayInChina } from "../registrations/rules.ts";
import { openIdentity } from "../subjects/vault.ts";
import { composeElements } from "./elements.ts";
import { composeGrant, encodeGrant, GRANT_MS, grantSignedBytes, requireGrantable } from "./rules.ts";
import { findConsent, insertConsent, pageConsents, withdrawConsent } from "./store.ts";

const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

export function consentService(context: Context) {
  return {
    grantConsent: recordingRefusals(context, "consent.granted", (request, call) =>
      grantConsent(context, request, call),
    ),
    withdrawConsent: recordingRefusals(context, "consent.withdrawn", (request, call) =>
      withdraw(context, request, call),
    ),
    listConsents: (request, call) => listConsents(context, request, call),
  } satisfies ServiceImpl<typeof ConsentService>;
}

/** The person who gave a grant owns it. */
export async function consentOwners({ db }: Pick<Context, "db">, id: string): Promise<Owners | undefined> {
  const consent = isUuid(id) ? await findConsent(db, id) : undefined;
  return consent === undefined ? undefined : { subjects: [consent.accountId] };
}

async function grantConsent(context: Context, request: GrantConsentRequest, call: HandlerContext) {
  const { db, ring, clock, environment } = context;
  const { applicationId, purpose, claimType } = request;
  const { accountId } = await requireRealName(context, call);
  const type = requireGrantable(await findApplication(db, applicationId), { purpose, claimType });
  const identity = await openIdentity(db, ring, accountId);
  if (identity === undefined) throw new DomainError("LEVEL_TOO_LOW");
  // The caller's own elements as they are on file, whatever the application has in mind.
  const grantedAt = new Date(clock.nowMs());
  const options = { today: dayInChina(grantedAt.getTime()), allowFictional: environment === "sandbox" };
  const elements = canonicalElements(composeElements(type, identity, request, options));
  const consent = {
    grantId: uuidv7(grantedAt.getTime()),
    accountId,
    applicationId,
    purpose,
    claimType: type,
    grantedAt,
    expireAt: new Date(grantedAt.getTime() + GRANT_MS),
  };
  const grant = composeGrant(consent, ring.hmac("consent-elements", elements));
  const consentGrant = encodeGrant(grant, await ring.sign("consent", grantSignedBytes(grant)));
  const schemas = { requestSchema: GrantConsentRequestSchema, responseSchema: GrantConsentResponseSchema };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas, shownOnce: true }, async () => {
      await insertConsent(tx, consent);
      await recordEvent(context, tx, call, {
        type: "consent.granted",
        outcome: "SUCCESS",
        subject: accountId,
        applicationId,
        purpose,
        details: { grant_id: consent.grantId, claim_type: consent.claimType },
      });
      const expireTime = timestampFromDate(consent.expireAt);
      return create(GrantConsentResponseSchema, { grantId: consent.grantId, consentGrant, expireTime });
    }),
  );
}

async function withdraw(context: Context, { grantId }: WithdrawConsentRequest, call: HandlerContext) {
  const { db, clock } = context;
  return transaction(db, async (tx) => {
    const now = new Date(clock.nowMs());
    const isNew = await withdrawConsent(tx, grantId, now);
    const consent = await findConsent(tx, grantId);
    if (consent === undefined) throw new DomainError("OBJECT_FORBIDDEN");
    if (isNew) {
      await bumpPolicy(tx);
      await recordEvent(context, tx, call, {
        type: "consent.withdrawn",
        outcome: "SUCCESS",
        subject: consent.accountId,
        applicationId: consent.applicationId,
        purpose: consent.purpose,
        details: { grant_id: grantId },
      });
    }
    return { withdrawTime: timestampFromDate(consent.withdrawnAt ?? now) };
  });
}

async function listConsents({ db, ring }: Context, request: ListConsentsRequest, call: HandlerContext) {
  const { subject } = subjectOf(call);
  if (!isUuid(subject)) return {};
  const size = pageSize(request.pageSize, { default: 50, max: 100 });
  const filter = ["consents", subject];
  const [before = LAST_ID] = openPage(request.pageToken, filter, ring) ?? [];
  const found = await pageConsents(db, subject, String(before), size + 1);
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  return {
    consents: page.map(({ grantId, applicationId, purpose, grantedAt, expireAt, withdrawnAt }) => ({
      grantId,
      applicationId,
      purpose,
      grantTime: timestampFromDate(grantedAt),
      expireTime: timestampFromDate(expireAt),
      ...(withdrawnAt === null ? {} : { withdrawTime: timestampFromDate(withdrawnAt) }),
    })),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.grantId] }, ring),
  };
}
