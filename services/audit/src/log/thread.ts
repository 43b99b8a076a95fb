/*
 * One thread of a verification: asked for windows, it reads and checks them, the next one under way while it hashes.
 */
import { parentPort, workerData } from "node:worker_threads";
import { openDatabase } from "@fujie/kit/db";
import type { ThreadData, WindowAnswer, WindowRequest } from "./threads.ts";
import { checkWindow } from "./window.ts";

const { url, names, ranges }: ThreadData = workerData;
const db = openDatabase({ url, poolMax: 2, service: "fujie audit verify", statementTimeoutMs: 600_000 });
let last: Promise<void> = Promise.resolve();

parentPort?.on("message", ({ begin, end }: WindowRequest) => {
  const checked = checkWindow(db, { names, ranges }, begin, end);
  last = answer(checked, last);
});

async function answer(checked: ReturnType<typeof checkWindow>, before: Promise<void>): Promise<void> {
  const result: WindowAnswer = await checked.then(
    (window) => ({ window }),
    (error: unknown) => ({ error }),
  );
  await before;
  const transfer = "window" in result ? [result.window.leaves.buffer] : [];
  parentPort?.postMessage(result, transfer);
}
