import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { once, type Transaction, transaction } from "@fujie/kit/db";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "./context.ts";

interface Repeatable<Request extends DescMessage, Response extends DescMessage> {
  readonly requestSchema: Request;
  readonly request: MessageShape<Request> & { readonly requestId: string };
  readonly responseSchema: Response;
}

/** Runs a write in a transaction, once per (caller, method, request_id); a repetition gets the first answer. */
export async function writeOnce<Request extends DescMessage, Response extends DescMessage>(
  { db, ring, clock }: Pick<Context, "db" | "ring" | "clock">,
  call: HandlerContext,
  what: Repeatable<Request, Response>,
  run: (tx: Transaction) => Promise<MessageShape<Response>>,
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
  return transaction(db, (tx) => once(tx, options, () => run(tx)));
}
