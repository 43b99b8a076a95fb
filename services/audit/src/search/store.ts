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

/** What has to hold besides; the empty text is no condition. */
export interface ColumnConditions {
  readonly startMs: number;
  /** Excluded. */
  readonly endMs: number;
  readonly traceId: string;
  readonly subject: string;
  readonly actor: string;
  readonly applicationId: string;
  readonly type: string;
  readonly typePrefix: string;
  /** SUCCESS, REFUSED, FAILED or PENDING. */
  readonly outcome: string;
}

export interface WindowSearch extends ColumnConditions {
  readonly key: SearchKey;
  readonly value: string;
  /** Only entries with a smaller index. */
  readonly before: number;
  /** How many entries of the key are looked at. */
  readonly window: number;
}

/** An entry that was looked at; the preimage only where the conditions hold, or seem to as to the outcome. */
export interface LookedAt {
  readonly index: number;
  readonly preimage: Uint8Array | null;
}

const statements = {
  traceId: searchBy("traceId"),
  subject: searchBy("subject"),
  actor: searchBy("actor"),
  applicationId: searchBy("applicationId"),
  type: searchBy("type"),
} as const satisfies Record<SearchKey, unknown>;

/** The window is taken by the index alone: however rare what is sought, a statement's work is bounded. */
function searchBy(key: SearchKey) {
  return statement(
    `audit.entry.by_${columns[key]}`,
    `SELECT index::float8 AS index,
       CASE WHEN time_ms >= $4 AND time_ms < $5 AND ($6 = '' OR trace_id = $6) AND ($7 = '' OR subject = $7)
         AND ($8 = '' OR actor = $8) AND ($9 = '' OR application_id = $9) AND ($10 = '' OR type = $10)
         AND ($11 = '' OR starts_with(type, $11)) AND position($12::bytea IN preimage) > 0
       THEN preimage END AS preimage
     FROM audit.entry
     WHERE ${columns[key]} = $1 AND index < $2::bigint ORDER BY entry.index DESC LIMIT $3`,
  );
}

/**
 * The outcome has no column; its field is looked for in the preimage (docs/audit-log.md: tag 5, text). Another text may
 * hold the same bytes: what is found is decoded and compared again.
 */
function outcomeField(outcome: string): Buffer {
  const text = Buffer.from(outcome);
  return outcome === "" ? Buffer.of() : Buffer.concat([Buffer.of(0, 5, 2, 0, text.length), text]);
}

/** The statement of one window; the test of the plans explains it. */
export function windowStatement(search: WindowSearch) {
  const { key, value, before, window, startMs, endMs, traceId, subject, actor, applicationId, type, typePrefix } =
    search;
  const conditions = [traceId, subject, actor, applicationId, type, typePrefix, outcomeField(search.outcome)];
  return statements[key](value, before, window, startMs, endMs, ...conditions);
}

/** The next entries of the key, newest first. */
export async function searchWindow(db: Queryable, search: WindowSearch): Promise<LookedAt[]> {
  return (await db.query<{ index: number; preimage: Buffer | null }>(windowStatement(search))).rows;
}
