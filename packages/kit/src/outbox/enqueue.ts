import { statement, type Transaction } from "../db/index.ts";

export interface OutboxMessage {
  /** One of the relay's destinations. */
  readonly destination: string;
  /** A UUIDv7 made once: the destination recognises a repetition by it. */
  readonly id: string;
  /** At most 1 MiB. Sealed by the caller when it holds personal data: the outbox keeps it as it is. */
  readonly payload: Uint8Array;
}

const insertMessages = statement(
  "kit.outbox.insert",
  `INSERT INTO kit.outbox (destination, id, payload) SELECT * FROM unnest($1::text[], $2::uuid[], $3::bytea[])`,
);

/**
 * Sends messages right when, and only when, the transaction commits: each at least once, under the same id. The relay
 * of this process is nudged by the commit.
 */
export async function enqueue(tx: Transaction, ...messages: readonly OutboxMessage[]): Promise<void> {
  if (messages.length === 0) return;
  await tx.query(
    insertMessages(
      messages.map((message) => message.destination),
      messages.map((message) => message.id),
      messages.map((message) => Buffer.from(message.payload)),
    ),
  );
  tx.announce("outbox");
}
