import { type Database, transaction } from "@fujie/kit/db";
import { clearOldWrappedKeys, storeWrappedKeys, takeOldWrappedKeys } from "./store.ts";

/**
 * Moves at most so many keys from the log's database, where they were once, to the key database; gives how many. They
 * are committed there before they are gone here: an interruption leaves them in both, and moving them again changes
 * nothing. Whoever erases one meanwhile waits for it here and then finds it there.
 */
export async function moveKeys(
  { db, keyDb }: { readonly db: Database; readonly keyDb: Database },
  batchMax: number,
): Promise<number> {
  const moved = await transaction(db, async (tx) => {
    const keys = await takeOldWrappedKeys(tx, batchMax);
    if (keys.length > 0) await storeWrappedKeys(keyDb, keys);
    return keys.length;
  });
  if (moved === 0) await clearOldWrappedKeys(db);
  return moved;
}
