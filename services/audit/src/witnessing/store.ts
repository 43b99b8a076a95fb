import { type Queryable, statement } from "@fujie/kit/db";
import type { PublishedCheckpoint } from "../log/store.ts";

const findWitnessed = statement("audit.witnessed.find", `SELECT size::float8 AS size, note FROM audit.witnessed`);
const findPublished = statement(
  "audit.checkpoint.published",
  `SELECT c.size::float8 AS size, coalesce(w.note, c.note) AS note
   FROM audit.checkpoint c LEFT JOIN audit.witnessed w ON w.size = c.size`,
);
const storeWitnessed = statement(
  "audit.witnessed.store",
  `INSERT INTO audit.witnessed AS stored (size, note) VALUES ($1, $2)
   ON CONFLICT (single) DO UPDATE SET size = excluded.size, note = excluded.note WHERE stored.size <= excluded.size`,
);

/** The newest checkpoint that a witness cosigned, with all its signatures; undefined before the first. */
export async function readWitnessed(db: Queryable): Promise<PublishedCheckpoint | undefined> {
  return (await db.query<{ size: number; note: string }>(findWitnessed())).rows[0];
}

/** The newest checkpoint, with the cosignatures that it has by now; undefined before the log's first start. */
export async function readPublished(db: Queryable): Promise<PublishedCheckpoint | undefined> {
  return (await db.query<{ size: number; note: string }>(findPublished())).rows[0];
}

/** Keeps a witnessed checkpoint unless a larger one is kept. */
export async function keepWitnessed(db: Queryable, size: number, note: string): Promise<void> {
  await db.query(storeWitnessed(size, note));
}
