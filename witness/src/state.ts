import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";

/** What the witness cosigned last of a log. */
export interface Cosigned {
  readonly size: number;
  readonly root: Uint8Array;
}

/** The witness's memory: for each log the newest checkpoint that it cosigned, durable before anybody is told. */
export interface State extends Disposable {
  latest(origin: string): Cosigned | undefined;
  /**
   * Replaces what was cosigned last, provided that it still is of size `oldSize` (0: never any): false when another
   * request came first. On disk when it returns.
   */
  advance(origin: string, oldSize: number, next: Cosigned & { readonly note: string }): boolean;
  /** The note that was cosigned last, by the lower-case hexadecimal SHA-256 of its origin. */
  noteOf(originHash: string): string | undefined;
}

/** Opens the memory; the file is made when there is none. Any number of processes may share it. */
export function openState(file: string): State {
  const db = new DatabaseSync(file);
  // EXTRA: the end of a transaction is on disk too, not only its pages.
  db.exec(`PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS cosigned (
      origin TEXT PRIMARY KEY, origin_hash TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, root BLOB NOT NULL,
      note TEXT NOT NULL) STRICT`);
  const find = db.prepare("SELECT size, root FROM cosigned WHERE origin = ?");
  const findNote = db.prepare("SELECT note FROM cosigned WHERE origin_hash = ?");
  const insert = db.prepare("INSERT INTO cosigned VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  // The root too: two forks of one size must not take each other's place.
  const update = db.prepare(
    `UPDATE cosigned SET size = ?, root = ?, note = ?
     WHERE origin = ? AND size = ? AND size <= ? AND (size < ? OR root = ?)`,
  );
  return {
    latest: (origin) => {
      const row = find.get(origin);
      if (row === undefined) return undefined;
      const { size, root } = row;
      if (typeof size !== "number" || !(root instanceof Uint8Array)) throw new Error("the witness's state is damaged");
      return { size, root };
    },
    advance: (origin, oldSize, { size, root, note }) => {
      const hash = createHash("sha256").update(origin, "utf8").digest("hex");
      const isNew = oldSize === 0 && insert.run(origin, hash, size, root, note).changes === 1;
      return isNew || update.run(size, root, note, origin, oldSize, size, size, root).changes === 1;
    },
    noteOf: (originHash) => {
      const note = findNote.get(originHash)?.["note"];
      return typeof note === "string" ? note : undefined;
    },
    [Symbol.dispose]: () => db.close(),
  };
}
