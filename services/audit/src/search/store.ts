import { type Queryable, statement } from "@fujie/kit/db";

/** What entries are searched by; each has its own partial index, with the entry's index as the order. */
const columns = {
  traceId: "trace_id",
  subject: "subject",
  actor: "actor",
  applicationId: "application_id",
  type: "type",
} as const;

export type SearchKey = keyof typeof columns;

export interface Search {
  readonly key: SearchKey;
  readonly value: string;
  /** Only entries with a smaller index. */
  readonly before: number;
  readonly startMs: number;
  /** Excluded. */
  readonly endMs: number;
  readonly limit: number;
}

export interface FoundEntry {
  readonly index: number;
  readonly preimage: Uint8Array;
}

const statements = {
  traceId: searchBy("traceId"),
  subject: searchBy("subject"),
  actor: searchBy("actor"),
  applicationId: searchBy("applicationId"),
  type: searchBy("type"),
} as const satisfies Record<SearchKey, unknown>;

function searchBy(key: SearchKey) {
  return statement(
    `audit.entry.by_${columns[key]}`,
    `SELECT index::float8 AS index, preimage FROM audit.entry
     WHERE ${columns[key]} = $1 AND index < $2::bigint AND time_ms >= $3 AND time_ms < $4
     ORDER BY entry.index DESC LIMIT $5`,
  );
}

/** Entries that match, newest first. */
export async function searchEntries(db: Queryable, search: Search): Promise<FoundEntry[]> {
  const { key, value, before, startMs, endMs, limit } = search;
  return (await db.query<{ index: number; preimage: Buffer }>(statements[key](value, before, startMs, endMs, limit)))
    .rows;
}
