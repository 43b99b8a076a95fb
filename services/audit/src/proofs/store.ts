import { type Queryable, statement } from "@fujie/kit/db";
import { PACKED_ROW } from "../log/row.ts";

/** An event's row and the newest checkpoint, which covers it. */
export interface PublishedEvent {
  readonly packed: Buffer;
  readonly size: number;
  readonly note: string;
}

const findEvent = statement(
  "audit.event.published",
  `SELECT ${PACKED_ROW} AS packed, c.size::float8 AS size, coalesce(w.note, c.note) AS note
   FROM audit.checkpoint c LEFT JOIN audit.witnessed w ON w.size = c.size,
     audit.event JOIN audit.entry ON entry.index = event.index
   WHERE event.event_id = $1::uuid AND event.index < c.size`,
);

export async function findPublishedEvent(db: Queryable, eventId: string): Promise<PublishedEvent | undefined> {
  return (await db.query<PublishedEvent & Record<string, unknown>>(findEvent(eventId))).rows[0];
}
