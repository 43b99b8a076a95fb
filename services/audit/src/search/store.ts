import { type Queryable, statement } from "@fujie/kit/db";
import { compactText, compactTrace, outcomeLetters, PACKED_ROW } from "../log/row.ts";

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

/** The numbers of the types that a search names, each undefined where it names none. */
export interface TypeNumbers {
  readonly value?: number;
  readonly type?: number;
  readonly withPrefix?: readonly number[];
}

/** An entry that was looked at; the row only where the conditions hold. */
export interface LookedAt {
  readonly index: number;
  readonly packed: Buffer | null;
}

/** No type has this number: what is sought is in no entry. */
const UNKNOWN_TYPE = -1;

const findTypes = statement(
  "audit.name.types",
  `SELECT id, name FROM audit.name WHERE name = $1 OR name = $2 OR ($3 <> '' AND starts_with(name, $3))`,
);
const statements = {
  traceId: searchBy("traceId"),
  subject: searchBy("subject"),
  actor: searchBy("actor"),
  applicationId: searchBy("applicationId"),
  type: searchBy("type"),
} as const satisfies Record<SearchKey, unknown>;

/**
 * The window is taken by the index alone: however rare what is sought, a statement's work is bounded. The second
 * condition on the key is that of its partial index.
 */
function searchBy(key: SearchKey) {
  const column = columns[key];
  const isPresent = key === "type" ? "" : `AND ${column} <> ''`;
  return statement(
    `audit.entry.by_${column}`,
    `SELECT index::float8 AS index,
       CASE WHEN time_ms >= $4 AND time_ms < $5 AND ($6::bytea = '' OR trace_id = $6)
         AND ($7::bytea = '' OR subject = $7) AND ($8::bytea = '' OR actor = $8)
         AND ($9::bytea = '' OR application_id = $9) AND ($10::int IS NULL OR type = $10)
         AND ($11::int[] IS NULL OR type = ANY ($11)) AND ($12::text = '' OR outcome::text = $12)
       THEN ${PACKED_ROW} END AS packed
     FROM audit.entry
     WHERE ${column} = $1 ${isPresent} AND index < $2::bigint ORDER BY entry.index DESC LIMIT $3`,
  );
}

/** The statement of one window; the test of the plans explains it. */
export function windowStatement(search: WindowSearch, types: TypeNumbers) {
  const { key, value, before, window, startMs, endMs, traceId, subject, actor, applicationId, outcome } = search;
  return statements[key](
    key === "type" ? types.value : keyOf(key, value),
    before,
    window,
    startMs,
    endMs,
    keyOf("traceId", traceId),
    keyOf("subject", subject),
    keyOf("actor", actor),
    keyOf("applicationId", applicationId),
    types.type ?? null,
    types.withPrefix ?? null,
    outcome === "" ? "" : (outcomeLetters[outcome] ?? "?"),
  );
}

function keyOf(key: SearchKey, text: string): Buffer {
  return key === "traceId" ? compactTrace(text) : compactText(text);
}

/** The numbers of the types that a search names. */
export async function findTypeNumbers(
  db: Queryable,
  { key, value, type, typePrefix }: Pick<WindowSearch, "key" | "value" | "type" | "typePrefix">,
): Promise<TypeNumbers> {
  const sought = key === "type" ? value : "";
  if (sought === "" && type === "" && typePrefix === "") return {};
  const { rows } = await db.query<{ id: number; name: string }>(findTypes(sought, type, typePrefix));
  const numberOf = (name: string): number => rows.find((row) => row.name === name)?.id ?? UNKNOWN_TYPE;
  return {
    value: numberOf(sought),
    ...(type === "" ? {} : { type: numberOf(type) }),
    ...(typePrefix === ""
      ? {}
      : { withPrefix: rows.filter(({ name }) => name.startsWith(typePrefix)).map(({ id }) => id) }),
  };
}

/** The next entries of the key, newest first. */
export async function searchWindow(db: Queryable, search: WindowSearch, types: TypeNumbers): Promise<LookedAt[]> {
  return (await db.query<{ index: number; packed: Buffer | null }>(windowStatement(search, types))).rows;
}
