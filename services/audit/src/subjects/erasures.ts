/*
 * Erasures, carried out again on keys that a backup brought back:
 *
 *   the log tells of an erasure at index i ─▶ keys deleted, the mark of the key database moves past i, in one statement
 *   backup restored ─▶ the mark goes back with the keys ─▶ erasures from there on are carried out again
 *
 * The log is what says who was erased; no list beside it. A mark that is not where this process left it is looked into
 * before any key is used, so that a restored key opens nothing, not even until the next look.
 */
import { type Queryable, statement } from "@fujie/kit/db";
import { decodeEntry } from "@fujie/transparency";
import { openRows } from "../log/openings.ts";
import { PACKED_ROW } from "../log/row.ts";
import { beginErasures, eraseKeysUntil, findWrappedKeys, moveErasures, removeOldWrappedKeys } from "./store.ts";

/** Whose retention the registry has ended: their details in the log end with it, and every proof stays valid. */
export const ERASED = { service: "registry", type: "subject.erased" } as const;

const BATCH = 1_000;

const findErasures = statement(
  "audit.entry.erasures",
  `SELECT ${PACKED_ROW} AS packed FROM audit.entry
   WHERE type = (SELECT id FROM audit.name WHERE name = $1) AND service = (SELECT id FROM audit.name WHERE name = $2)
     AND index >= $3 ORDER BY index LIMIT $4`,
);
const findSize = statement("audit.head.size", `SELECT coalesce(max(size), 0)::float8 AS size FROM audit.head`);

/**
 * Carries out what the log tells of and the key database does not know yet. Says to whom keys were destroyed, after
 * each batch, and returns the index up to which there is nothing left to do.
 * @throws DomainError DEPENDENCY_UNAVAILABLE when either database is away
 */
export async function carryOutErasures(
  { db, keyDb }: { readonly db: Queryable; readonly keyDb: Queryable },
  onErased: (subjects: readonly string[]) => void,
): Promise<number> {
  for (;;) {
    const { erasedUntil: from } = await findWrappedKeys(keyDb, []);
    const size = await sizeOfLog(db);
    if (from === undefined) await beginErasures(keyDb, size);
    // An older backup of the log was put back: indexes below the mark will be given again.
    else if (from > size) await moveErasures(keyDb, from, size);
    else {
      const erasures = await erasuresFrom(db, from);
      const last = erasures.at(-1);
      if (last === undefined) return from;
      const subjects = erasures.map(({ subject }) => subject);
      await removeOldWrappedKeys(db, subjects);
      await eraseKeysUntil(keyDb, from, last.index + 1, subjects);
      onErased(subjects);
    }
  }
}

async function sizeOfLog(db: Queryable): Promise<number> {
  return (await db.query<{ size: number }>(findSize())).rows[0]?.size ?? 0;
}

async function erasuresFrom(db: Queryable, from: number): Promise<{ index: number; subject: string }[]> {
  const { rows } = await db.query<{ packed: Buffer }>(findErasures(ERASED.type, ERASED.service, from, BATCH));
  const openings = await openRows(db, Buffer.concat(rows.map(({ packed }) => packed)));
  return openings.map(({ index, preimage }) => ({ index, subject: decodeEntry(preimage).subject }));
}
