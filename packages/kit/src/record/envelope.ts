/**
 * What a message of the outbox holds, before it is sealed: one event, or after a zero byte (no protobuf message begins
 * with one) a request of many.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AppendEventsRequestSchema, type Event, EventSchema } from "@fujie/api/fujie/audit/v1/ingest";

const MANY = 0;
/** With details of ordinary size far below the outbox's 1 MiB; even with the largest, a few fit. */
export const ENVELOPE_EVENTS_MAX = 256;

export function encodeEnvelope(events: readonly Event[]): Uint8Array {
  const [only] = events;
  if (events.length === 1 && only !== undefined) return toBinary(EventSchema, only);
  const request = create(AppendEventsRequestSchema, { events: [...events] });
  return Buffer.concat([Buffer.of(MANY), toBinary(AppendEventsRequestSchema, request)]);
}

export function decodeEnvelope(bytes: Uint8Array): readonly Event[] {
  if (bytes[0] !== MANY) return [fromBinary(EventSchema, bytes)];
  return fromBinary(AppendEventsRequestSchema, bytes.subarray(1)).events;
}

export function chunksOf<Item>(items: readonly Item[], sizeMax: number): readonly Item[][] {
  const chunks: Item[][] = [];
  for (let i = 0; i < items.length; i += sizeMax) chunks.push(items.slice(i, i + sizeMax));
  return chunks;
}
