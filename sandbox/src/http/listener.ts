import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Log } from "../log.ts";
import type { LoopbackAddress } from "../loopback.ts";
import { isLoopbackHost } from "../loopback.ts";
import { errorReply, type HttpReply, notFound, type Room } from "./reply.ts";

const BODY_BYTES_MAX = 16 * 1024;
/** Of a room that takes pictures. */
export const PICTURE_BYTES_MAX = 1024 * 1024;
const CONNECTIONS_MAX = 512;

export type HttpListener = { readonly port: number; close(): Promise<void> };

/** Serves the rooms by the first segment of the path. A room's failure leaves as 500 without a word about its cause. */
export async function listenHttp(
  address: LoopbackAddress,
  rooms: Readonly<Record<string, Room>>,
  log: Log,
  /** Of rooms that take larger bodies than 16 KiB. */
  bodyBytesMax: Readonly<Partial<Record<string, number>>> = {},
): Promise<HttpListener> {
  const server = createServer({ headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 30_000 });
  server.maxConnections = CONNECTIONS_MAX;
  const byName = new Map(Object.entries(rooms));
  server.on("request", (request, response) => {
    answer(request, byName, log, bodyBytesMax).then(
      (reply) => send(reply, response),
      () => response.destroy(),
    );
  });
  return {
    port: await listen(server, address),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, { host, port }: LoopbackAddress): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      const address = server.address();
      if (address === null || typeof address === "string") reject(new Error("the listener has no port"));
      else resolve(address.port);
    });
  });
}

async function answer(
  request: IncomingMessage,
  rooms: ReadonlyMap<string, Room>,
  log: Log,
  bodyBytesMax: Readonly<Partial<Record<string, number>>>,
): Promise<HttpReply> {
  // A page in a browser can reach loopback through a name of its own: that name is then the host.
  if (!isLoopbackHost(request.headers.host ?? "")) return errorReply(421, "NOT_LOOPBACK");
  const path = request.url ?? "/";
  const name = path.split("/")[1] ?? "";
  const room = rooms.get(name);
  if (room === undefined || path.includes("?")) return notFound();
  const body = await readBody(request, bodyBytesMax[name] ?? BODY_BYTES_MAX);
  if (body === undefined) return errorReply(413, "TOO_LARGE", { field: "body" });
  try {
    return await room({ method: request.method ?? "", path, headers: request.headers, body });
  } catch (error) {
    log.error({ room: name, error: error instanceof Error ? error.name : "unknown" }, "a request failed");
    return errorReply(500, "FAULT");
  }
}

/** Undefined when it is too large. */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    // What comes after is read and thrown away, so that the refusal arrives; requestTimeout ends it.
    if (size <= bytesMax) chunks.push(bytes);
  }
  return size <= bytesMax ? Buffer.concat(chunks) : undefined;
}

function send(reply: HttpReply, response: ServerResponse): void {
  if (reply.kind !== "reply") {
    if (reply.kind === "drop") response.socket?.destroy();
    return;
  }
  response.writeHead(reply.status, {
    ...reply.headers,
    "content-length": reply.body.length,
    "cache-control": "no-store",
  });
  response.end(reply.body);
}
