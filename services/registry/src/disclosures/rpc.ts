import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { AssistanceCase } from "@fujie/api/fujie/audit/v1/cases";
import type { DiscloseIdentityRequest, DisclosureService } from "@fujie/api/fujie/registry/v1/disclosures";
import { outgoing } from "@fujie/kit/clients";
import { transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { requireOperator } from "../operators/acting.ts";
import { recordingRefusals } from "../refusals.ts";
import { openIdentity } from "../subjects/vault.ts";
import { requireDisclosable } from "./rules.ts";
import { insertDisclosure } from "./store.ts";

const SCOPE = "registry.disclose";
const ASK_MS = 3_000;

export function disclosureService(context: Context) {
  return {
    discloseIdentity: recordingRefusals(context, "identity.disclosed", (request, call) =>
      discloseIdentity(context, request, call),
    ),
  } satisfies ServiceImpl<typeof DisclosureService>;
}

async function discloseIdentity(context: Context, request: DiscloseIdentityRequest, call: HandlerContext) {
  const { db, ring, clock } = context;
  const { caseId, accountId } = request;
  const operator = await requireOperator(context, call, SCOPE);
  const assistance = await askForCase(context, caseId, call);
  const disclosedAt = new Date(clock.nowMs());
  requireDisclosable(assistance, accountId, operator.operatorId, disclosedAt.getTime());
  const identity = await openIdentity(db, ring, accountId);
  if (identity?.kind !== "person") throw new DomainError("ACCOUNT_NOT_FOUND");
  await transaction(db, async (tx) => {
    const disclosure = { caseId, accountId, disclosedBy: operator.operatorId, disclosedAt };
    if (!(await insertDisclosure(tx, disclosure))) throw new DomainError("DISCLOSURE_SPENT");
    await recordEvent(context, tx, call, {
      type: "identity.disclosed",
      outcome: "SUCCESS",
      subject: accountId,
      digest: assistance.documentSha256,
      details: { case_id: caseId, authority: assistance.authority },
    });
  });
  return { name: identity.name, citizenId: identity.identifier, discloseTime: timestampFromDate(disclosedAt) };
}

/** The case as audit has it now, asked by mutual TLS alone. Throws CASE_NOT_FOUND, AUDIT_UNAVAILABLE. */
async function askForCase(
  { assistance }: Pick<Context, "assistance">,
  caseId: string,
  call: HandlerContext,
): Promise<AssistanceCase> {
  const { headers: _token, ...carried } = outgoing(call);
  try {
    const { case: found } = await assistance.getCase({ caseId }, { ...carried, timeoutMs: ASK_MS });
    if (found === undefined) throw new DomainError("CASE_NOT_FOUND");
    return found;
  } catch (error) {
    if (error instanceof DomainError && error.reason === "CASE_NOT_FOUND") throw error;
    throw new DomainError("AUDIT_UNAVAILABLE", { cause: error });
  }
}
