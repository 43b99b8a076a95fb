import type { Connection, Database } from "@fujie/kit/db";

/** Lets a number of steps pass; the next one and all later ones fail, as if the process had been cut off there. */
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
      if (blown) throw new Error("cut off earlier");
      left -= 1;
      if (left >= 0) return work();
      blown = true;
      if (moment === "after") await work();
      throw new Error(`cut off ${moment} a step`);
    },
  };
}

/** A database whose every statement, BEGIN and COMMIT is a step. */
export function fuseDatabase(db: Database, fuse: Fuse): Database {
  return {
    ...db,
    query: (statement) => fuse.step(() => db.query(statement)),
    copyOut: (statement) => fuse.step(() => db.copyOut(statement)),
    connect: async () => {
      const connection = await db.connect();
      return fuseConnection(connection, fuse);
    },
  };
}

function fuseConnection(connection: Connection, fuse: Fuse): Connection {
  return {
    query: (statement) => fuse.step(() => connection.query(statement)),
    command: (text) => fuse.step(() => connection.command(text)),
    copyOut: (statement) => fuse.step(() => connection.copyOut(statement)),
    // What is cut off leaves its connection behind.
    release: (broken) => connection.release(broken === true || fuse.isBlown()),
  };
}
