import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { type OnceOptions, once, type Transaction } from "@fujie/kit/db";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "./context.ts";

interface RepeatableCall<Request extends DescMessage, Response extends DescMessage>
  extends Pick<OnceOptions<Request, Response>, "requestSchema" | "request" | "responseSchema" | "shownOnce"> {
  readonly request: MessageShape<Request> & { readonly requestId: string };
}

/**
 * Runs a handler's write once per (caller, method, request_id), in the handler's own transaction; a repetition gets the
 * first answer. What `run` returns is kept: a secret must not be part of it, unless `shownOnce` says so.
 */
export async function runOnce<Request extends DescMessage, Response extends DescMessage>(
  { ring, clock }: Pick<Context, "ring" | "clock">,
  tx: Transaction,
  call: HandlerContext,
  what: RepeatableCall<Request, Response>,
  run: () => Promise<MessageShape<Response>>,
): Promise<MessageShape<Response>> {
  const { subject, clientId } = subjectOf(call);
  const options = {
    ...what,
    caller: `${subject}/${clientId}`,
    method: `${call.service.typeName}/${call.method.name}`,
    requestId: what.request.requestId,
    keys: ring,
    clock,
  };
  return once(tx, options, run);
}
