import { type Queryable, statement } from "@fujie/kit/db";
import type { Name, Names } from "./row.ts";

interface NameRow {
  id: number;
  name: string;
}

const findIds = statement("audit.name.ids", `SELECT id, name FROM audit.name WHERE name = ANY ($1::text[])`);
const findNames = statement("audit.name.find", `SELECT id, name FROM audit.name WHERE id = ANY ($1::int[])`);
const findAllNames = statement("audit.name.all", `SELECT id, name FROM audit.name`);
const insertNames = statement(
  "audit.name.insert",
  `INSERT INTO audit.name (name) SELECT name FROM unnest($1::text[]) AS name ORDER BY name ON CONFLICT DO NOTHING`,
);

/** Numbers of the names that entries hold by number; a name that has none gets one. */
export interface NameNumbers {
  of(names: Iterable<string>): Promise<ReadonlyMap<string, number>>;
}

/**
 * Remembers the numbers for as long as one term leads. Names are committed before, and apart from, the entries that
 * need them: two batches under way must not wait for each other's names.
 */
export function openNameNumbers(db: Queryable): NameNumbers {
  const known = new Map<string, number>();

  async function learn(names: readonly string[]): Promise<void> {
    for (const { id, name } of (await db.query<NameRow>(findIds(names))).rows) known.set(name, id);
  }

  return {
    of: async (names) => {
      const wanted = [...new Set(names)];
      const missing = () => wanted.filter((name) => !known.has(name));
      if (missing().length > 0) await learn(missing());
      if (missing().length > 0) {
        await db.query(insertNames(missing()));
        await learn(missing());
      }
      return known;
    },
  };
}

/** All names there are. */
export async function readNames(db: Queryable): Promise<Names> {
  return namesIn((await db.query<NameRow>(findAllNames())).rows);
}

/** A name never gets another number: what was read once of a database need not be read again. */
const remembered = new WeakMap<Queryable, Map<number, Name>>();

/** The names of these numbers. A number without a name is left out. */
export async function rememberNames(db: Queryable, ids: readonly number[]): Promise<Names> {
  const known = remembered.get(db) ?? new Map<number, Name>();
  remembered.set(db, known);
  const missing = [...new Set(ids)].filter((id) => !known.has(id));
  if (missing.length === 0) return known;
  for (const [id, name] of namesIn((await db.query<NameRow>(findNames(missing))).rows)) known.set(id, name);
  return known;
}

function namesIn(rows: readonly NameRow[]): Map<number, Name> {
  return new Map(rows.map(({ id, name }) => [id, { name, utf8: new Uint8Array(Buffer.from(name, "utf8")) }]));
}
