import { statement, type Transaction } from "../db/index.ts";

export interface OutboxMessage {
  /** One of the relay's destinations. */
  readonly destination: string;
  /** A UUIDv7 made once: the destination recognises a repetition by it. */
  readonly id: string;
  /** At most 1 MiB. Sealed by the caller when it holds personal data: the outbox keeps it as it is. */
  readonly payload: Uint8Array;
  /** How many events it holds, for the count that is compared with the audit log. Default 1. */
  readonly events?: number;
}

/** The destination whose messages are counted, so that one that is removed before it is delivered is missed. */
export const COUNTED_DESTINATION = "audit";

const insertMessages = statement(
  "kit.outbox.insert",
  `WITH counted AS (INSERT INTO kit.outbox_enqueued (n) SELECT $4::bigint WHERE $4::bigint > 0)
   INSERT INTO kit.outbox (destination, id, payload, events)
   SELECT * FROM unnest($1::text[], $2::uuid[], $3::bytea[], $5::int[])`,
);

/**
 * Sends messages right when, and only when, the transaction commits: each at least once, under the same id. The relay
 * of this process is nudged by the commit.
 */
export async function enqueue(tx: Transaction, ...messages: readonly OutboxMessage[]): Promise<void> {
  if (messages.length === 0) return;
  tx.send(
    insertMessages(
      messages.map((message) => message.destination),
      messages.map((message) => message.id),
      messages.map((message) => Buffer.from(message.payload)),
      messages.reduce((sum, each) => sum + (each.destination === COUNTED_DESTINATION ? eventsOf(each) : 0), 0),
      messages.map(eventsOf),
    ),
  );
  tx.announce("outbox");
}

function eventsOf({ events = 1 }: OutboxMessage): number {
  return events;
}
