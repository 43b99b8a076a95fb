type Stop = () => Promise<void>;
type RunningServer = { stop: Stop; stopAtExit: () => void };

const running = new Set<RunningServer>();
const signals = ["SIGINT", "SIGTERM"] as const;

/**
 * Makes sure that a server ends with this process, and returns the function that forgets it again.
 *
 * On SIGINT and SIGTERM the server is stopped and the signal then does what it would have done, but only where
 * nobody else listens: a program with handlers of its own stops its services first and the database last.
 */
export function endWithProcess(server: RunningServer): () => void {
  if (running.size === 0) {
    // First in the row, so that another's `once` listener is still counted when this one looks.
    for (const signal of signals) process.prependListener(signal, stopAll);
    process.on("exit", stopAllAtExit);
  }
  running.add(server);
  return () => {
    running.delete(server);
    if (running.size > 0) return;
    for (const signal of signals) process.off(signal, stopAll);
    process.off("exit", stopAllAtExit);
  };
}

function stopAll(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  void Promise.allSettled([...running].map((server) => server.stop())).then(() => process.kill(process.pid, signal));
}

function stopAllAtExit(): void {
  for (const server of running) server.stopAtExit();
}
