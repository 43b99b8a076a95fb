import type { Connection, Database } from "../src/db/index.ts";

/** Lets a number of steps pass; at the next one it "kills" whoever takes it: that and all later steps fail. */
export interface Fuse {
  step<T>(work: () => Promise<T>): Promise<T>;
  isBlown(): boolean;
}

/** `after`: the step's work is done all the same, and nobody learns of it: failed but persisted. */
export function createFuse(steps: number, moment: "before" | "after"): Fuse {
  let left = steps;
  let blown = false;
  return {
    isBlown: () => blown,
    step: async (work) => {
      if (blown) throw new Error("killed earlier");
      left -= 1;
      if (left >= 0) return work();
      blown = true;
      if (moment === "after") await work();
      throw new Error(`killed ${moment} a step`);
    },
  };
}

/** A database whose every statement is a step. */
export function fuseDatabase(db: Database, fuse: Fuse): Database {
  return {
    ...db,
    query: (statement) => fuse.step(() => db.query(statement)),
    copyOut: (statement) => fuse.step(() => db.copyOut(statement)),
    connect: async () => {
      // A connection persists nothing: killed before or after is the same, and nobody would give it back.
      await fuse.step(async () => {});
      return fuseConnection(await db.connect(), fuse);
    },
  };
}

function fuseConnection(connection: Connection, fuse: Fuse): Connection {
  return {
    query: (statement) => fuse.step(() => connection.query(statement)),
    command: (text) => fuse.step(() => connection.command(text)),
    copyOut: (statement) => fuse.step(() => connection.copyOut(statement)),
    // The connection of a killed process ends.
    release: (broken) => connection.release(broken === true || fuse.isBlown()),
  };
}
