/*
 * One thread of a verification: it checks the windows that it is given.
 */
import { parentPort, workerData } from "node:worker_threads";
import { type CheckedWindow, checkWindow, type Known, type ReadWindow } from "./check-rows.ts";
import type { WindowAnswer } from "./threads.ts";

const known: Known = workerData;

parentPort?.on("message", (window: ReadWindow) => {
  const answer = attempt(window);
  parentPort?.postMessage(answer, "window" in answer ? buffersOf(answer.window) : []);
});

function attempt(window: ReadWindow): WindowAnswer {
  try {
    return { window: checkWindow(known, window) };
  } catch (error) {
    return { error };
  }
}

function buffersOf({ leaves, roots, eventIds }: CheckedWindow): ArrayBuffer[] {
  return [leaves.buffer, roots.buffer, eventIds.buffer];
}
