import type { Clock } from "../clock.ts";
import type { Check, CheckDesk, Delivery, Outcome } from "../manners/check.ts";
import { BIZ_SEQ_FORM } from "../manners/elements.ts";
import { FieldError } from "../manners/field-error.ts";
import { errorReply, type HttpReply, type HttpRequest, jsonReply, notFound, parseJson, type Room } from "./reply.ts";
import { type HttpCaller, verifyRequest } from "./signature.ts";

/**
 * The HTTP manners of a base: `POST <path>` checks, `GET <path>/<bizSeq>` tells the outcome again. Signatures come
 * first, so that a stranger learns nothing and costs nothing.
 */
export function createCheckRoom<Answer>(base: {
  /** E.g. "/population/v1/checks". */
  readonly path: string;
  readonly desk: CheckDesk<Answer>;
  readonly caller: HttpCaller;
  readonly clock: Clock;
  /** Reads a request's JSON. Throws FieldError. */
  readonly readCheck: (value: unknown) => Check<Answer>;
}): Room {
  const { path, desk, caller, clock, readCheck } = base;

  async function check(request: HttpRequest): Promise<HttpReply> {
    try {
      return checkReply(await desk.check(() => readCheck(parseJson(request.body))));
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      return errorReply(400, "MALFORMED", { field: error.field, message: error.message });
    }
  }

  return async (request) => {
    if (!verifyRequest(request, caller, clock.nowMs())) {
      desk.manners.ledger.refuse("unauthenticated");
      return errorReply(401, "UNAUTHENTICATED");
    }
    if (request.method === "POST" && request.path === path) return check(request);
    const bizSeq = request.path.startsWith(`${path}/`) ? request.path.slice(path.length + 1) : "";
    if (request.method === "GET" && BIZ_SEQ_FORM.test(bizSeq)) return outcomeReply(await desk.outcome(bizSeq));
    return notFound();
  };
}

function checkReply(delivery: Delivery<unknown>): HttpReply {
  switch (delivery.kind) {
    case "answered":
      return jsonReply(200, delivery.answer);
    case "conflict":
      return errorReply(409, "BIZ_SEQ_REUSED", { field: "bizSeq" });
    case "limited":
      return errorReply(429, "QUOTA_EXCEEDED", { retryAfterMs: delivery.retryAfterMs });
    case "away":
      return errorReply(503, "AWAY", { retryAfterMs: delivery.retryAfterMs });
    case "failed":
      return errorReply(500, "FAULT");
    case "hung":
      return { kind: "hang" };
    case "dropped":
      return { kind: "drop" };
  }
}

function outcomeReply(outcome: Outcome<unknown>): HttpReply {
  switch (outcome.kind) {
    case "answered":
      return jsonReply(200, outcome.answer);
    case "away":
      return errorReply(503, "AWAY", { retryAfterMs: outcome.retryAfterMs });
    case "unknown":
      return notFound();
  }
}
