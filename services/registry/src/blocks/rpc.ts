import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type BlockService,
  type CreateBlockRuleRequest,
  CreateBlockRuleRequestSchema,
  CreateBlockRuleResponseSchema,
  type ListBlockRulesRequest,
} from "@fujie/api/fujie/registry/v1/sources";
import { openPage, pageSize, signPage, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { runOnce } from "@fujie/kit/repeatable";
import type { Context } from "../context.ts";
import { requireOperator } from "../operators/acting.ts";
import { bumpPolicy } from "../policy/store.ts";
import { recordingRefusals } from "../refusals.ts";
import { describeBlock } from "./describe.ts";
import { requireNetwork } from "./network.ts";
import { identifierMessage, RULES_MAX } from "./rules.ts";
import { type BlockRule, deleteBlock, insertBlock, pageBlocks } from "./store.ts";

const SCOPE = "registry.blocks.write";
const FIRST_ID = "00000000-0000-0000-0000-000000000000";

export function blockService(context: Context) {
  return {
    createBlockRule: recordingRefusals(context, "block.created", (request, call) => createRule(context, request, call)),
    async liftBlockRule({ ruleId }, call) {
      await requireOperator(context, call, SCOPE);
      await transaction(context.db, async (tx) => {
        if (!(await deleteBlock(tx, ruleId))) return;
        await bumpPolicy(tx);
        await recordEvent(context, tx, call, {
          type: "block.lifted",
          outcome: "SUCCESS",
          details: { rule_id: ruleId },
        });
      });
      return {};
    },
    listBlockRules: (request, call) => listRules(context, request, call),
  } satisfies ServiceImpl<typeof BlockService>;
}

async function createRule(context: Context, request: CreateBlockRuleRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { operatorId } = await requireOperator(context, call, SCOPE);
  const now = new Date(clock.nowMs());
  const expireAt = request.expireTime === undefined ? null : timestampDate(request.expireTime);
  if (expireAt !== null && expireAt <= now) throw fieldError("FIELD_INVALID", "expire_time", "is past");
  const target = readTarget(context, request);
  const { reasonCode } = request;
  const schemas = { requestSchema: CreateBlockRuleRequestSchema, responseSchema: CreateBlockRuleResponseSchema };
  return transaction(db, (tx) =>
    runOnce(context, tx, call, { request, ...schemas }, async () => {
      const ruleId = uuidv7(clock.nowMs());
      const rule = { ruleId, ...target, reasonCode, createdBy: operatorId, createdAt: now, expireAt };
      if (!(await insertBlock(tx, rule, RULES_MAX))) throw new DomainError("BLOCKS_FULL", { subject: "blocks" });
      await bumpPolicy(tx);
      const details = { rule_id: ruleId, target: request.target.case ?? "", reason_code: reasonCode };
      await recordEvent(context, tx, call, { type: "block.created", outcome: "SUCCESS", details });
      return create(CreateBlockRuleResponseSchema, { ruleId });
    }),
  );
}

type Target = Pick<BlockRule, "applicationId" | "network" | "identifierHmac" | "hmacKeyVersion" | "claimType">;

function readTarget({ ring }: Pick<Context, "ring">, { target }: CreateBlockRuleRequest): Target {
  const none = { applicationId: null, network: null, identifierHmac: null, hmacKeyVersion: null, claimType: null };
  switch (target.case) {
    case "applicationId":
      return { ...none, applicationId: target.value };
    case "network":
      return { ...none, network: requireNetwork(target.value) };
    case "identifier": {
      const { digest, version } = ring.hmac("consent-elements", identifierMessage(target.value));
      return { ...none, identifierHmac: digest, hmacKeyVersion: version };
    }
    case "claimType":
      return { ...none, claimType: target.value };
    case undefined:
      throw fieldError("FIELD_INVALID", "target", "is missing");
  }
}

async function listRules(context: Context, request: ListBlockRulesRequest, call: HandlerContext) {
  const { db, ring, clock } = context;
  await requireOperator(context, call, SCOPE);
  const size = pageSize(request.pageSize, { default: 50, max: 100 });
  const filter = ["blocks"];
  const [after = FIRST_ID] = openPage(request.pageToken, filter, ring) ?? [];
  const found = await pageBlocks(db, String(after), new Date(clock.nowMs()), size + 1);
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  return {
    rules: page.map((rule) => ({
      rule: describeBlock(rule),
      reasonCode: rule.reasonCode,
      createdBy: rule.createdBy,
      createTime: timestampFromDate(rule.createdAt),
    })),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.ruleId] }, ring),
  };
}
