import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import { VerificationDecidedSchema } from "@fujie/api/fujie/trust/v1/evidence";
import { isUuid, type Transaction } from "@fujie/kit/db";
import type { Context } from "../context.ts";
import { readOrganisationReference, settleOrganisation } from "../organisations/settle.ts";
import { askAboutAllOrganisations } from "../organisations/store.ts";
import { REGISTRATION_REFERENCE, settleRegistration } from "../registrations/settle.ts";
import { askAboutAllRegistrations } from "../registrations/store.ts";

export const VERIFICATIONS_TOPIC = "trust.verifications";

const OWN_ACT = { service: "registry" } as const;

/** Completes what waited for a source. Decisions about somebody else's questions are passed over. */
export async function applyDecision(context: Pick<Context, "ring" | "clock">, tx: Transaction, event: Any) {
  const decision = anyUnpack(event, VerificationDecidedSchema);
  if (decision === undefined) return;
  const { reference } = decision;
  const organisation = readOrganisationReference(reference);
  if (organisation !== undefined) {
    const { organisationId, question } = organisation;
    return settleOrganisation(context, tx, OWN_ACT, organisationId, question, decision);
  }
  const registrationId = reference.slice(REGISTRATION_REFERENCE.length);
  if (reference.startsWith(REGISTRATION_REFERENCE) && isUuid(registrationId)) {
    await settleRegistration(context, tx, OWN_ACT, registrationId, decision);
  }
}

/** Decisions may have been missed: everything that still waits is asked about again, under its old request id. */
export async function askEverythingAgain({ clock }: Pick<Context, "clock">, tx: Transaction): Promise<void> {
  const now = new Date(clock.nowMs());
  await askAboutAllRegistrations(tx, now);
  await askAboutAllOrganisations(tx, now);
}
