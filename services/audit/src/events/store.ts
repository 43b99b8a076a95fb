import { type Queryable, statement } from "@fujie/kit/db";
import type { StoredEntry } from "../log/entry.ts";
import { openRows } from "../log/openings.ts";
import { PACKED_ROW } from "../log/row.ts";

const findIndexes = statement(
  "audit.event.indexes",
  `SELECT event_id, index::float8 AS index FROM audit.event WHERE event_id = ANY ($1::uuid[])`,
);
const findEntry = statement(
  "audit.entry.find",
  `SELECT ${PACKED_ROW} AS packed, details, details_key FROM audit.entry WHERE index = $1::bigint`,
);

interface EntryRow {
  packed: Buffer;
  details: Buffer | null;
  details_key: string | null;
}

/** The indexes of those events that are in the log, by event id. */
export async function indexesOf(db: Queryable, eventIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await db.query<{ event_id: string; index: number }>(findIndexes(eventIds));
  return new Map(rows.map(({ event_id, index }) => [event_id, index]));
}

export async function findStoredEntry(db: Queryable, index: number): Promise<StoredEntry | undefined> {
  const [row] = (await db.query<EntryRow>(findEntry(index))).rows;
  if (row === undefined) return undefined;
  const [opening] = await openRows(db, row.packed);
  const { details, details_key: keyId } = row;
  return (
    opening && { ...opening, details: details === null || keyId === null ? undefined : { keyId, sealed: details } }
  );
}
