import { appendFileSync } from "node:fs";
import { createServer, type ServerHttp2Session } from "node:http2";
import { join } from "node:path";

export type ObservedKind = "log" | "metrics" | "telemetry" | "url" | "error" | "ephemeral";

/**
 * Keeps something that services let others see, for the canary scan at the end of `npm test`, which looks for people in
 * it. Without FUJIE_TEST_OBSERVED_DIR, as when a test file is run by itself, nothing is kept.
 */
export function keepObserved(kind: ObservedKind, data: string | Uint8Array): void {
  const folder = process.env["FUJIE_TEST_OBSERVED_DIR"];
  if (folder === undefined || folder === "") return;
  appendFileSync(join(folder, `${kind}-${process.pid}`), data);
  appendFileSync(join(folder, `${kind}-${process.pid}`), "\n");
}

/** An OTLP collector on loopback that keeps every span and metric it is sent, uncompressed as they come. */
export async function startCollector(): Promise<{ readonly endpoint: string } & AsyncDisposable> {
  const server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => keepObserved("telemetry", chunk));
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      // One message, not compressed, empty: nothing was refused.
      stream.end(Buffer.alloc(5));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // Nobody has to stop it for a test file to end.
  server.unref();
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}
