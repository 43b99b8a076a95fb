import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type CancelOrganisationRequest,
  CancelOrganisationRequestSchema,
  CancelOrganisationResponseSchema,
} from "@fujie/api/fujie/registry/v1/organisations";
import { transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { requireRealName } from "../accounts/acting.ts";
import type { Context } from "../context.ts";
import { endRolesIn } from "../delegation/end.ts";
import { lockHeldRole } from "../delegation/store.ts";
import { eraseSubjectAt, releaseIdentifiers } from "../subjects/store.ts";
import { lockOrganisation, setOrganisationState } from "./store.ts";

/**
 * See OrganisationService.CancelOrganisation. The role in the token is not believed: the registry looks it up, and holds
 * it. Roles end after the state changed, from the legal representative's down, so that one that is just being given
 * ends too.
 */
export async function cancelOrganisation(context: Context, request: CancelOrganisationRequest, call: HandlerContext) {
  const { db, clock, periods } = context;
  const { organisationId } = request;
  const { accountId } = await requireRealName(context, call);
  if (!request.confirmed) throw new DomainError("CONFIRMATION_REQUIRED");
  const schemas = { requestSchema: CancelOrganisationRequestSchema, responseSchema: CancelOrganisationResponseSchema };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas }, async () => {
      const nowMs = clock.nowMs();
      const own = await lockHeldRole(tx, organisationId, accountId, new Date(nowMs));
      const organisation = await lockOrganisation(tx, organisationId);
      if (own?.role !== "LEGAL_REPRESENTATIVE" || organisation?.state !== "ACTIVE") {
        throw new DomainError("ROLE_FORBIDDEN");
      }
      await setOrganisationState(tx, organisationId, "CANCELLED");
      const ended = await endRolesIn(context, tx, organisationId);
      await releaseIdentifiers(tx, organisationId);
      await eraseSubjectAt(tx, organisationId, new Date(nowMs + periods.archiveMs));
      await recordEvent(context, tx, call, {
        type: "organisation.cancelled",
        outcome: "SUCCESS",
        subject: organisationId,
        organisationId,
        details: { roles_ended: String(ended.length) },
      });
      return create(CancelOrganisationResponseSchema, { cancelTime: timestampFromMs(nowMs) });
    }),
  );
}
