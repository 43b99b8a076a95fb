import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type DecideProposalRequest,
  type ListOperatorsRequest,
  OperatorRole,
  type OperatorService,
  type ProposeOperatorRequest,
  ProposeOperatorRequestSchema,
  ProposeOperatorResponseSchema,
  type ReviewOperatorRequest,
} from "@fujie/api/fujie/registry/v1/operators";
import { openPage, pageSize, signPage, type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import { publishOperator } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { isSameIdentifier } from "../counter/rules.ts";
import { citizenIdOf, verifyCertificate } from "../gateway/ask.ts";
import { recordingRefusals } from "../refusals.ts";
import { identifierDigests } from "../subjects/vault.ts";
import { requireOperator } from "./acting.ts";
import { bindFirstAdministrators, isCeremonyCompleted, openCeremony } from "./ceremony.ts";
import { checkEngagement, type OperatorRoleName, operatorRoles, proposalMessage, reviewedUntil } from "./rules.ts";
import {
  closeProposal,
  findOperator,
  findOperatorByDigest,
  findOperatorDigests,
  insertOperator,
  insertProposal,
  lockProposal,
  type Operator,
  type Proposal,
  pageOperators,
  renewOperator,
} from "./store.ts";

const PROPOSAL_MS = 30 * 24 * 60 * 60_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

export function operatorService(context: Context) {
  return {
    openCeremony: onceCompleted(context, (request, _call) => openCeremony(context, request)),
    bindFirstAdministrators: onceCompleted(context, (request, call) => bindFirstAdministrators(context, request, call)),
    proposeOperator: recordingRefusals(context, "operator.proposed", (request, call) =>
      proposeOperator(context, request, call),
    ),
    decideProposal: recordingRefusals(context, "operator.approved", (request, call) =>
      decideProposal(context, request, call),
    ),
    reviewOperator: recordingRefusals(context, "operator.reviewed", (request, call) =>
      reviewOperator(context, request, call),
    ),
    listOperators: (request, call) => listOperators(context, request, call),
  } satisfies ServiceImpl<typeof OperatorService>;
}

/** Records refusals once the ceremony has run; before, its own event has to be the first. */
function onceCompleted<Request, Reply>(
  context: Context,
  run: (request: Request, call: HandlerContext) => Promise<Reply>,
): (request: Request, call: HandlerContext) => Promise<Reply> {
  const recording = recordingRefusals(context, "ceremony.opened", run);
  return async (request, call) => ((await isCeremonyCompleted(context.db)) ? recording : run)(request, call);
}

async function proposeOperator(context: Context, request: ProposeOperatorRequest, call: HandlerContext) {
  const { db, ring, clock } = context;
  const proposer = await requireOperator(context, call, "registry.operators.propose");
  const role = requireRole(request.role);
  const engagementEnd = request.engagementEnd === undefined ? null : timestampDate(request.engagementEnd);
  checkEngagement(engagementEnd, clock.nowMs());
  const holder = await verifyCertificate(context, proposalMessage(request.requestId, role), request.proof, call);
  const digests = identifierDigests(ring, "citizen-id", citizenIdOf(holder));
  return transaction(db, (tx) =>
    runOnce(
      context,
      tx,
      call,
      { request, requestSchema: ProposeOperatorRequestSchema, responseSchema: ProposeOperatorResponseSchema },
      async () => {
        const proposalId = uuidv7(clock.nowMs());
        const expireAt = new Date(clock.nowMs() + PROPOSAL_MS);
        const proposedBy = proposer.operatorId;
        await insertProposal(tx, { proposalId, role, caId: holder.caId, digests, proposedBy, expireAt, engagementEnd });
        await recordEvent(context, tx, call, {
          type: "operator.proposed",
          outcome: "PENDING",
          details: { proposal_id: proposalId, role },
        });
        return create(ProposeOperatorResponseSchema, { proposalId });
      },
    ),
  );
}

function requireRole(role: OperatorRole): OperatorRoleName {
  const name = operatorRoles.find((each) => OperatorRole[each] === role);
  if (name === undefined) throw fieldError("FIELD_INVALID", "role", "is no role");
  return name;
}

async function decideProposal(context: Context, request: DecideProposalRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { proposalId, approved } = request;
  const approver = await requireOperator(context, call, "registry.operators.approve");
  return transaction(db, async (tx) => {
    const proposal = await lockProposal(tx, proposalId);
    if (proposal === undefined) throw new DomainError("PROPOSAL_NOT_FOUND");
    if (proposal.state !== "OPEN" || proposal.expireAt.getTime() <= clock.nowMs()) {
      throw new DomainError("PROPOSAL_STATE_INVALID");
    }
    await requireFourEyes(tx, approver, proposal);
    await closeProposal(tx, proposalId, approved ? "APPROVED" : "REFUSED", approver.operatorId);
    const operatorId = approved ? await appoint(context, tx, proposal) : "";
    await recordEvent(context, tx, call, {
      type: approved ? "operator.approved" : "operator.refused",
      outcome: "SUCCESS",
      details: { proposal_id: proposalId, operator_id: operatorId, role: proposal.role },
    });
    return { operatorId };
  });
}

/** Neither who proposed nor who is proposed decides, by whichever certificate he comes. */
async function requireFourEyes(tx: Transaction, approver: Operator, { proposedBy, digests }: Proposal): Promise<void> {
  const own = await findOperatorDigests(tx, approver.operatorId);
  if (proposedBy === approver.operatorId || isSameIdentifier(own, digests)) {
    throw new DomainError("FOUR_EYES_REQUIRED");
  }
}

/** Makes the person an operator; one who is one already is renewed in the proposed role: one person, one role. */
async function appoint(context: Context, tx: Transaction, proposal: Proposal): Promise<string> {
  const { role, caId, digests, engagementEnd } = proposal;
  const { clock, periods } = context;
  const createdAt = new Date(clock.nowMs());
  const known = await findOperatorByDigest(tx, digests);
  const operatorId = known?.operatorId ?? uuidv7(clock.nowMs());
  const until = reviewedUntil(clock.nowMs(), periods.reviewMs, engagementEnd);
  const operator: Operator = { operatorId, role, caId, reviewedUntil: until, engagementEnd };
  if (known !== undefined) await renewOperator(tx, operator);
  else if (!(await insertOperator(tx, { ...operator, createdAt }, digests))) {
    // Two approvals for one person at once: the other one counts.
    throw new DomainError("PROPOSAL_STATE_INVALID");
  }
  await publishOperator(tx, operatorId);
  return operatorId;
}

async function reviewOperator(context: Context, { operatorId }: ReviewOperatorRequest, call: HandlerContext) {
  const { db, clock, periods } = context;
  const reviewer = await requireOperator(context, call, "registry.operators.approve");
  if (reviewer.operatorId === operatorId) throw new DomainError("FOUR_EYES_REQUIRED");
  return transaction(db, async (tx) => {
    const operator = await findOperator(tx, operatorId);
    if (operator === undefined) throw new DomainError("OPERATOR_NOT_FOUND");
    const until = reviewedUntil(clock.nowMs(), periods.reviewMs, operator.engagementEnd);
    if (until.getTime() <= clock.nowMs()) throw new DomainError("OPERATOR_EXPIRED");
    await renewOperator(tx, { ...operator, reviewedUntil: until });
    await publishOperator(tx, operatorId);
    await recordEvent(context, tx, call, {
      type: "operator.reviewed",
      outcome: "SUCCESS",
      details: { operator_id: operatorId, role: operator.role, reviewed_until: until.toISOString() },
    });
    return { reviewedUntil: timestampFromDate(until) };
  });
}

async function listOperators(context: Context, request: ListOperatorsRequest, call: HandlerContext) {
  const { db, ring } = context;
  await requireOperator(context, call, "registry.operators.read");
  const size = pageSize(request.pageSize, { default: 50, max: 100 });
  const filter = ["operators"];
  const [after = FIRST_ID] = openPage(request.pageToken, filter, ring) ?? [];
  const found = await pageOperators(db, String(after), size + 1);
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  return {
    operators: page.map(({ operatorId, role, reviewedUntil: until, engagementEnd }) => ({
      operatorId,
      role: OperatorRole[role],
      reviewedUntil: timestampFromDate(until),
      ...(engagementEnd === null ? {} : { engagementEnd: timestampFromDate(engagementEnd) }),
    })),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.operatorId] }, ring),
  };
}
