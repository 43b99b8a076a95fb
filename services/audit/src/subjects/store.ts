import { type Queryable, statement, type Transaction } from "@fujie/kit/db";

const READ_KEY = `key_id AS "keyId", subject, wrapped, created_at_ms::float8 AS "createdAtMs"`;

// Each answer says up to where erasures were carried out: NULL in a database that is new.
const findKeys = statement(
  "audit.key.find",
  `SELECT DISTINCT ON (k.subject) m.index::float8 AS "erasedUntil", k.*
   FROM (SELECT max(index) AS index FROM keys.erased_until) AS m
   LEFT JOIN (SELECT ${READ_KEY} FROM keys.subject_key WHERE subject = ANY ($1::text[])) AS k ON true
   ORDER BY k.subject, k."createdAtMs" DESC, k."keyId" DESC`,
);
const findKeyById = statement(
  "audit.key.by_id",
  `SELECT m.index::float8 AS "erasedUntil", k.*
   FROM (SELECT max(index) AS index FROM keys.erased_until) AS m
   LEFT JOIN (SELECT ${READ_KEY} FROM keys.subject_key WHERE key_id = $1) AS k ON true`,
);
const insertKeys = statement(
  "audit.key.insert",
  `INSERT INTO keys.subject_key (key_id, subject, wrapped, created_at_ms)
   SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bigint[])
   ON CONFLICT (key_id) DO NOTHING`,
);
const deleteKeys = statement("audit.key.delete", `DELETE FROM keys.subject_key WHERE subject = ANY ($1::text[])`);
const beginMark = statement(
  "audit.key.mark.begin",
  `INSERT INTO keys.erased_until (index) VALUES ($1) ON CONFLICT DO NOTHING`,
);
const moveMark = statement("audit.key.mark.move", `UPDATE keys.erased_until SET index = $2 WHERE index = $1`);
// Who comes second finds the mark moved and deletes nothing: the subject may have a new key by then.
const eraseUntil = statement(
  "audit.key.erase_until",
  `WITH moved AS (UPDATE keys.erased_until SET index = $2 WHERE index = $1 RETURNING index)
   DELETE FROM keys.subject_key USING moved WHERE subject = ANY ($3::text[])`,
);
const deleteOldKeys = statement(
  "audit.subject_key.delete",
  `DELETE FROM audit.subject_key WHERE subject = ANY ($1::text[])`,
);
const findOldKey = statement("audit.subject_key.by_id", `SELECT ${READ_KEY} FROM audit.subject_key WHERE key_id = $1`);
const takeOldKeys = statement(
  "audit.subject_key.take",
  `DELETE FROM audit.subject_key WHERE key_id IN (SELECT key_id FROM audit.subject_key ORDER BY key_id LIMIT $1)
   RETURNING ${READ_KEY}`,
);
const clearOld = statement("audit.subject_key.clear", `SELECT audit.clear_moved_keys()`);

export interface WrappedKey {
  readonly keyId: string;
  readonly subject: string;
  readonly wrapped: Buffer;
  readonly createdAtMs: number;
}

type KeyRow = { [K in keyof WrappedKey]: WrappedKey[K] };
type MarkedRow = { erasedUntil: number | null } & { [K in keyof WrappedKey]: WrappedKey[K] | null };

/** Keys, and up to which index of the log erasures were carried out on them. */
export interface FoundKeys {
  readonly keys: readonly WrappedKey[];
  readonly erasedUntil: number | undefined;
}

/** The newest key of each of the subjects that has one. */
export async function findWrappedKeys(keyDb: Queryable, subjects: readonly string[]): Promise<FoundKeys> {
  return foundKeys((await keyDb.query<MarkedRow>(findKeys(subjects))).rows);
}

export async function findWrappedKey(keyDb: Queryable, keyId: string): Promise<FoundKeys> {
  return foundKeys((await keyDb.query<MarkedRow>(findKeyById(keyId))).rows);
}

function foundKeys(rows: readonly MarkedRow[]): FoundKeys {
  const keys = rows.flatMap(({ keyId, subject, wrapped, createdAtMs }) =>
    keyId === null || subject === null || wrapped === null || createdAtMs === null
      ? []
      : [{ keyId, subject, wrapped, createdAtMs }],
  );
  return { keys, erasedUntil: rows[0]?.erasedUntil ?? undefined };
}

/** Keeps the keys; one that is there already stays as it is. */
export async function storeWrappedKeys(keyDb: Queryable, keys: readonly WrappedKey[]): Promise<void> {
  const column = <K extends keyof WrappedKey>(name: K) => keys.map((key) => key[name]);
  await keyDb.query(insertKeys(column("keyId"), column("subject"), column("wrapped"), column("createdAtMs")));
}

export async function removeWrappedKeys(keyDb: Queryable, subjects: readonly string[]): Promise<void> {
  await keyDb.query(deleteKeys(subjects));
}

/** Notes that a new key database knows of no erasure below the index, unless it says already of which. */
export async function beginErasures(keyDb: Queryable, index: number): Promise<void> {
  await keyDb.query(beginMark(index));
}

/** Moves the mark from one index to another, if it is still there. */
export async function moveErasures(keyDb: Queryable, from: number, to: number): Promise<void> {
  await keyDb.query(moveMark(from, to));
}

/** Destroys the subjects' keys and moves the mark from one index to another, both or, if it has moved, neither. */
export async function eraseKeysUntil(
  keyDb: Queryable,
  from: number,
  to: number,
  subjects: readonly string[],
): Promise<void> {
  await keyDb.query(eraseUntil(from, to, subjects));
}

// What the log's own database held before there was a key database

/** A key that has not moved yet. */
export async function findOldWrappedKey(db: Queryable, keyId: string): Promise<WrappedKey | undefined> {
  return (await db.query<KeyRow>(findOldKey(keyId))).rows[0];
}

export async function removeOldWrappedKeys(db: Queryable, subjects: readonly string[]): Promise<void> {
  await db.query(deleteOldKeys(subjects));
}

/** Takes keys out; they are gone with the transaction, and until then whoever erases them waits. */
export async function takeOldWrappedKeys(tx: Transaction, max: number): Promise<readonly WrappedKey[]> {
  return (await tx.query<KeyRow>(takeOldKeys(max))).rows;
}

/** Leaves no trace of moved keys in the table's file. */
export async function clearOldWrappedKeys(db: Queryable): Promise<void> {
  await db.query(clearOld());
}
