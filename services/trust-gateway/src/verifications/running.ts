import type { Logger } from "@fujie/kit/log";

/** Work that goes on after its caller was answered; the service waits for it when it stops. */
export interface RunningTasks extends AsyncDisposable {
  /** Runs the task; a failure is logged, for a durable row stands behind every task. Resolves when it has ended. */
  run(what: string, task: () => Promise<void>): Promise<void>;
}

export function createRunningTasks(log: Pick<Logger, "error">): RunningTasks {
  const tasks = new Set<Promise<void>>();
  return {
    run: (what, task) => {
      const running = task()
        .catch((error: unknown) => log.error({ err: error, task: what }, "a task failed"))
        .finally(() => tasks.delete(running));
      tasks.add(running);
      return running;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(tasks);
    },
  };
}
