import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { EventSchema, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import type { Clock } from "../clock/index.ts";
import { type Database, type Transaction, transaction, uuidv7 } from "../db/index.ts";
import type { Reason } from "../errors/index.ts";
import type { KeyRing } from "../keys/index.ts";
import { enqueue } from "../outbox/index.ts";
import { caller, traceIdOf } from "../serve/index.ts";

/** Where an event comes from when no call is under way: a sweeper, a follower. The trace is that of what began it. */
export interface Origin {
  readonly service: string;
  readonly traceId?: string;
}

/** What happened, for the audit log. Ids only; what is personal goes into `details`, which audit encrypts. */
export interface RecordedEvent {
  /** "<noun>.<past participle>", for example "registration.confirmed". */
  readonly type: string;
  readonly outcome: "SUCCESS" | "REFUSED" | "FAILED" | "PENDING";
  /** Who did it; by default the caller's subject, or the calling service. */
  readonly actor?: string;
  /** The account or organisation that it is about. */
  readonly subject?: string;
  readonly applicationId?: string;
  readonly organisationId?: string;
  readonly purpose?: string;
  readonly reason?: Reason | undefined;
  readonly details?: Readonly<Record<string, string>>;
}

/** What recording needs of a service's context. */
export interface Recorder {
  readonly clock: Clock;
  /** Seals the event for its way through the outbox (use "payload"). */
  readonly ring: Pick<KeyRing, "seal">;
}

/** The aad under which an event lies sealed in the outbox, bound to its id. */
export function outboxAad(id: string): string {
  return `audit-event:${id}`;
}

/**
 * Records an event in the caller's own transaction: it reaches the audit log if and only if the transaction commits.
 * Returns the event's id.
 */
export async function recordEvent(
  recorder: Recorder,
  tx: Transaction,
  from: HandlerContext | Origin,
  event: RecordedEvent,
): Promise<string> {
  const id = uuidv7(recorder.clock.nowMs());
  const message = create(EventSchema, {
    eventId: id,
    time: timestampFromMs(recorder.clock.nowMs()),
    type: event.type,
    outcome: Outcome[event.outcome],
    subject: event.subject ?? "",
    purpose: event.purpose ?? "",
    reason: event.reason ?? "",
    details: { ...event.details },
    ...source(from, event),
  });
  const payload = recorder.ring.seal("payload", outboxAad(id), toBinary(EventSchema, message));
  await enqueue(tx, { destination: "audit", id, payload });
  return id;
}

/** Records a refusal, in a transaction of its own: the one that was refused leaves nothing behind. */
export async function recordRefusal(
  recorder: Recorder & { readonly db: Database },
  from: HandlerContext | Origin,
  event: Omit<RecordedEvent, "outcome"> & { readonly reason: Reason },
): Promise<void> {
  await transaction(recorder.db, (tx) => recordEvent(recorder, tx, from, { ...event, outcome: "REFUSED" }));
}

function source(from: HandlerContext | Origin, event: RecordedEvent) {
  if (isOrigin(from)) {
    return {
      actor: event.actor ?? from.service,
      applicationId: event.applicationId ?? "",
      organisationId: event.organisationId ?? "",
      traceId: from.traceId ?? "",
    };
  }
  const { peer, token } = caller(from);
  return {
    actor: event.actor ?? token?.subject ?? peer ?? "anonymous",
    applicationId: event.applicationId ?? token?.application ?? "",
    organisationId: event.organisationId ?? token?.organisation ?? "",
    traceId: traceIdOf(from),
  };
}

/** A call's context has a `service` too: the described one, an object. */
function isOrigin(from: HandlerContext | Origin): from is Origin {
  return typeof from.service === "string";
}
