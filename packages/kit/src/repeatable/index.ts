import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { Clock } from "../clock/index.ts";
import { type Database, type OnceOptions, once, type Transaction, transaction } from "../db/index.ts";
import { subjectOf } from "../serve/index.ts";

type Repeating = { readonly clock: Clock } & Readonly<Record<"ring", OnceOptions<DescMessage, DescMessage>["keys"]>>;

interface RepeatableCall<Request extends DescMessage, Response extends DescMessage>
  extends Pick<OnceOptions<Request, Response>, "requestSchema" | "request" | "responseSchema" | "shownOnce"> {
  readonly request: MessageShape<Request> & { readonly requestId: string };
}

/**
 * Runs a handler's write once per (caller, method, request_id), in the handler's own transaction; a repetition gets the
 * first answer. What `run` returns is kept: a secret must not be part of it, unless `shownOnce` says so.
 */
export async function runOnce<Request extends DescMessage, Response extends DescMessage>(
  { ring, clock }: Repeating,
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

/** The same in a transaction of its own. */
export async function writeOnce<Request extends DescMessage, Response extends DescMessage>(
  context: Repeating & { readonly db: Database },
  call: HandlerContext,
  what: RepeatableCall<Request, Response>,
  run: (tx: Transaction) => Promise<MessageShape<Response>>,
): Promise<MessageShape<Response>> {
  return transaction(context.db, (tx) => runOnce(context, tx, call, what, () => run(tx)));
}
