import { type Queryable, statement } from "@fujie/kit/db";

const findKeys = statement(
  "audit.subject_key.find",
  `SELECT key_id, subject, wrapped FROM audit.subject_key WHERE subject = ANY ($1::text[])`,
);
const findKeyById = statement(
  "audit.subject_key.by_id",
  `SELECT key_id, subject, wrapped FROM audit.subject_key WHERE key_id = $1`,
);
const insertKey = statement(
  "audit.subject_key.insert",
  `INSERT INTO audit.subject_key (key_id, subject, wrapped, created_at_ms) VALUES ($1, $2, $3, $4)
   ON CONFLICT (subject) DO NOTHING`,
);
const deleteKey = statement("audit.subject_key.delete", `DELETE FROM audit.subject_key WHERE subject = $1`);

export interface WrappedKey {
  readonly keyId: string;
  readonly subject: string;
  readonly wrapped: Buffer;
}

interface KeyRow {
  key_id: string;
  subject: string;
  wrapped: Buffer;
}

export async function findWrappedKeys(db: Queryable, subjects: readonly string[]): Promise<WrappedKey[]> {
  return (await db.query<KeyRow>(findKeys(subjects))).rows.map(keyOf);
}

export async function findWrappedKey(db: Queryable, keyId: string): Promise<WrappedKey | undefined> {
  const [row] = (await db.query<KeyRow>(findKeyById(keyId))).rows;
  return row === undefined ? undefined : keyOf(row);
}

/** Keeps the key, unless the subject has one already: look which one it is afterwards. */
export async function storeWrappedKey(db: Queryable, key: WrappedKey, createdAtMs: number): Promise<void> {
  await db.query(insertKey(key.keyId, key.subject, key.wrapped, createdAtMs));
}

export async function removeWrappedKey(db: Queryable, subject: string): Promise<void> {
  await db.query(deleteKey(subject));
}

function keyOf({ key_id, subject, wrapped }: KeyRow): WrappedKey {
  return { keyId: key_id, subject, wrapped };
}
