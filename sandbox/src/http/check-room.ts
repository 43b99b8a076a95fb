import type { Clock } from "../clock.ts";
import type { Check, CheckDesk, Delivery, Outcome } from "../manners/check.ts";
import { BIZ_SEQ_FORM } from "../manners/elements.ts";
import { FieldError } from "../manners/field-error.ts";
import type { Manners } from "../manners/manners.ts";
import { errorReply, type HttpReply, type HttpRequest, jsonReply, notFound, parseJson, type Room } from "./reply.ts";
import { type HttpCaller, verifyRequest } from "./signature.ts";

/** Reads a request's JSON. Throws FieldError. */
export type CheckReader<Answer> = (value: unknown) => Check<Answer>;

/**
 * The HTTP manners of a base: `POST <path>` checks, `GET <path>/<bizSeq>` tells the outcome again. Signatures come
 * first, so that a stranger learns nothing and costs nothing.
 */
export function createCheckRoom<Answer>(base: {
  /** What is checked under which path, e.g. "/population/v1/checks". */
  readonly checks: Readonly<Record<string, CheckReader<Answer>>>;
  readonly desk: CheckDesk<Answer>;
  readonly caller: HttpCaller;
  readonly clock: Clock;
  /** The manners of the replica whose room this is; the desk's own where there is one only. */
  readonly front?: Manners;
}): Room {
  const { desk, caller, clock, front = desk.manners } = base;
  const readers = new Map(Object.entries(base.checks));

  async function check(request: HttpRequest, read: CheckReader<Answer>): Promise<HttpReply> {
    try {
      return checkReply(await desk.check(() => read(parseJson(request.body)), front));
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      return errorReply(400, "MALFORMED", { field: error.field, message: error.message });
    }
  }

  return async (request) => {
    if (!verifyRequest(request, caller, clock.nowMs())) {
      front.ledger.refuse("unauthenticated");
      return errorReply(401, "UNAUTHENTICATED");
    }
    const read = readers.get(request.path);
    if (request.method === "POST" && read !== undefined) return check(request, read);
    const at = request.path.lastIndexOf("/");
    const [path, bizSeq] = [request.path.slice(0, at), request.path.slice(at + 1)];
    if (request.method === "GET" && readers.has(path) && BIZ_SEQ_FORM.test(bizSeq)) {
      return outcomeReply(await desk.outcome(bizSeq, front));
    }
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
