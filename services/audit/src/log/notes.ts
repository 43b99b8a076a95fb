import type { Queryable } from "@fujie/kit/db";
import { readWitnessed } from "../witnessing/store.ts";
import { readCheckpoint } from "./store.ts";

/** The signed notes that the database holds: the newest checkpoint, and the newest witnessed one. */
export async function readNotes(
  db: Queryable,
): Promise<{ checkpoint: string | undefined; witnessed: string | undefined }> {
  // The witnessed one first, so that the newest is never older.
  const witnessed = await readWitnessed(db);
  return { checkpoint: (await readCheckpoint(db))?.note, witnessed: witnessed?.note };
}
