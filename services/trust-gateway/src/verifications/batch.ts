/** BatchVerify: many questions on one stream, each as if it had come alone. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type {
  BatchVerifyRequest,
  BatchVerifyResponseSchema,
  VerifyRequest,
} from "@fujie/api/fujie/trust/v1/verification";
import { DomainError } from "@fujie/kit/errors";
import { refusalStatus, subjectOf, traceIdOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { askVerification } from "./ask.ts";
import { answersInWindow } from "./window.ts";

type Answer = MessageInitShape<typeof BatchVerifyResponseSchema>;

/** Questions of one stream under way at once, as verification.proto promises. */
const WINDOW_MAX = 64;

export function batchVerify(
  context: Context,
  questions: AsyncIterable<BatchVerifyRequest>,
  call: HandlerContext,
): AsyncGenerator<Answer> {
  return answersInWindow(questions, WINDOW_MAX, ({ question }) => answerOne(context, question, call));
}

/** Never throws: a refusal is an answer about its question alone. */
async function answerOne(context: Context, question: VerifyRequest | undefined, call: HandlerContext): Promise<Answer> {
  const requestId = question?.requestId ?? "";
  try {
    if (question === undefined) throw new DomainError("REQUEST_MALFORMED");
    if (subjectOf(call).expiresAtMs <= context.clock.nowMs()) throw new DomainError("TOKEN_EXPIRED");
    const verification = await askVerification(context, question, call, "batch");
    return { requestId, answer: { case: "verification", value: verification } };
  } catch (error) {
    const refusal = error instanceof DomainError ? error : new DomainError("INTERNAL", { cause: error });
    if (refusal.reason === "INTERNAL") context.log.error({ err: error }, "a question of a batch failed unexpectedly");
    return { requestId, answer: { case: "refusal", value: refusalStatus(refusal, traceIdOf(call)) } };
  }
}
