import { type CallOptions, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { caller, spanOf } from "../serve/index.ts";
import { parentSpanKey } from "./grpc-transport.ts";

/**
 * What a call that a handler makes on behalf of its own caller carries on: the caller's token, what is left of the
 * deadline, the trace, and cancellation.
 */
export function outgoing(call: HandlerContext): CallOptions {
  const { token } = caller(call);
  const timeoutMs = call.timeoutMs();
  return {
    signal: call.signal,
    contextValues: createContextValues().set(parentSpanKey, spanOf(call)),
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token.raw}` } }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}
