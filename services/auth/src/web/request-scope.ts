/** What is known about the HTTP request under way, for whoever works for it further down: OpenID callbacks, records. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Origin } from "@fujie/kit/record";

export interface RequestScope {
  readonly traceId: string;
}

export const requestScope = new AsyncLocalStorage<RequestScope>();

/** Where a recorded event comes from when a web request is under way. */
export function webOrigin(): Origin {
  const scope = requestScope.getStore();
  return scope === undefined ? { service: "auth" } : { service: "auth", traceId: scope.traceId };
}
