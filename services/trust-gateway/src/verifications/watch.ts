/** WatchVerifications: each application follows its own verifications, a topic of the feed each. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  VerificationSchema,
  type WatchVerificationsRequest,
  type WatchVerificationsResponseSchema,
} from "@fujie/api/fujie/trust/v1/verification";
import { DomainError } from "@fujie/kit/errors";
import type { Feed } from "@fujie/kit/feed";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { requireApplication } from "../policy/rules.ts";
import { receiptOf } from "./answer.ts";
import { describeVerification, topicOf } from "./rules.ts";
import { readVerification } from "./store.ts";

/** Follows the calling application's decisions for as long as its token and its registration last. */
export async function* watchVerifications(
  context: Pick<Context, "db" | "ring" | "clock" | "policy">,
  feed: Pick<Feed, "follow">,
  { resumeToken }: WatchVerificationsRequest,
  call: HandlerContext,
): AsyncGenerator<MessageInitShape<typeof WatchVerificationsResponseSchema>> {
  const { application } = subjectOf(call);
  if (application === undefined) throw new DomainError("OBJECT_FORBIDDEN");
  await requireWelcome(context, application, call);
  for await (const { resumeToken: next, event } of feed.follow(topicOf(application), resumeToken, call.signal)) {
    // Heartbeats come every second: whoever is not welcome any more is shown out as soon.
    await requireWelcome(context, application, call);
    const verification = event === undefined ? undefined : await describe(context, application, event);
    yield { resumeToken: next, ...(verification && { verification }) };
  }
}

async function requireWelcome(
  { policy, clock }: Pick<Context, "policy" | "clock">,
  application: string,
  call: HandlerContext,
): Promise<void> {
  if (subjectOf(call).expiresAtMs <= clock.nowMs()) throw new DomainError("TOKEN_EXPIRED");
  requireApplication(await policy.current(), application);
}

/** Undefined once it is purged. */
async function describe(context: Pick<Context, "db" | "ring">, application: string, event: Any) {
  const id = anyUnpack(event, VerificationSchema)?.verificationId;
  const kept = id === undefined ? undefined : await readVerification(context.db, id);
  if (kept === undefined || kept.applicationId !== application) return undefined;
  return describeVerification(kept, receiptOf(context, kept));
}
