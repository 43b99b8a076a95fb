import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type BlockRule as BlockRuleMessage, BlockRuleSchema } from "@fujie/api/fujie/trust/v1/policy";
import type { BlockRule } from "./store.ts";

/** The rule as the gateway gets it. */
export function describeBlock(rule: BlockRule): BlockRuleMessage {
  const { ruleId, expireAt, hmacKeyVersion } = rule;
  return create(BlockRuleSchema, {
    ruleId,
    target: targetOf(rule),
    hmacKeyVersion: hmacKeyVersion ?? 0,
    ...(expireAt === null ? {} : { expireTime: timestampFromDate(expireAt) }),
  });
}

function targetOf({ applicationId, network, identifierHmac, claimType }: BlockRule): BlockRuleMessage["target"] {
  if (applicationId !== null) return { case: "applicationId", value: applicationId };
  if (network !== null) return { case: "network", value: network };
  if (identifierHmac !== null) return { case: "identifierHmac", value: new Uint8Array(identifierHmac) };
  return { case: "claimType", value: claimType ?? 0 };
}
