import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { type Event, EventSchema, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import type { Clock } from "../clock/index.ts";
import { type Database, type Transaction, transaction, uuidv7 } from "../db/index.ts";
import type { Reason } from "../errors/index.ts";
import type { KeyRing } from "../keys/index.ts";
import { enqueue } from "../outbox/index.ts";
import { caller, traceIdOf } from "../serve/index.ts";
import { chunksOf, ENVELOPE_EVENTS_MAX, encodeEnvelope } from "./envelope.ts";

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
  /** SHA-256 of what the event fixes in the log; 32 bytes. */
  readonly digest?: Uint8Array;
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
  const described = describeEvent(recorder, from, event);
  await recordEvents(recorder, tx, [described]);
  return described.eventId;
}

/** An event as it is going to be in the log, under a fresh id: for `recordEvents`. */
export function describeEvent({ clock }: Pick<Recorder, "clock">, from: HandlerContext | Origin, event: RecordedEvent) {
  const nowMs = clock.nowMs();
  return create(EventSchema, {
    eventId: uuidv7(nowMs),
    time: timestampFromMs(nowMs),
    type: event.type,
    outcome: Outcome[event.outcome],
    subject: event.subject ?? "",
    purpose: event.purpose ?? "",
    reason: event.reason ?? "",
    details: { ...event.details },
    ...(event.digest === undefined ? {} : { digest: new Uint8Array(event.digest) }),
    ...source(from, event),
  });
}

/** Records described events, in one message of the outbox for many: what a batch costs is one row and one sealing. */
export async function recordEvents(
  recorder: Pick<Recorder, "ring">,
  tx: Transaction,
  events: readonly Event[],
): Promise<void> {
  const messages = chunksOf(events, ENVELOPE_EVENTS_MAX).map((chunk) => {
    // A message of the outbox needs an id that is made once; that of its first event is one.
    const id = chunk[0]?.eventId ?? "";
    const payload = recorder.ring.seal("payload", outboxAad(id), encodeEnvelope(chunk));
    return { destination: "audit", id, payload, events: chunk.length };
  });
  await enqueue(tx, ...messages);
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
