import { createServer, type Socket } from "node:net";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { Server, type ServerCredentials, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { formatAddress, type LoopbackAddress } from "../loopback.ts";

/** A face of half a mebibyte and the rest of its check. */
const MESSAGE_BYTES_MAX = 1024 * 1024;
const CONNECTIONS_MAX = 128;
const STREAMS_MAX = 256;
const IDLE_MS = 5 * 60_000;

export type GrpcListener = {
  readonly port: number;
  /** Cuts the connection of the peer "host:port" as a network does: no goodbye, every call on it fails. */
  drop(peer: string): void;
  close(): Promise<void>;
};

/**
 * A gRPC server whose sockets are at hand, because a source that drops connections needs them and grpc-js keeps its own
 * to itself: connections are accepted here and handed in.
 */
export async function listenGrpc(
  address: LoopbackAddress,
  credentials: ServerCredentials,
  service: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): Promise<GrpcListener> {
  const grpc = new Server({
    "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
    "grpc.max_concurrent_streams": STREAMS_MAX,
    "grpc.max_connection_idle_ms": IDLE_MS,
  });
  grpc.addService(service, implementation);
  const injector = grpc.createConnectionInjector(credentials);
  const sockets = new Map<string, Socket>();
  const listener = createServer((socket) => {
    const peer = formatAddress({ host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 });
    sockets.set(peer, socket);
    socket.once("close", () => sockets.delete(peer));
    socket.on("error", () => socket.destroy());
    socket.setNoDelay(true);
    injector.injectConnection(socket);
  });
  listener.maxConnections = CONNECTIONS_MAX;
  const port = await new Promise<number>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(address.port, address.host, () => {
      listener.off("error", reject);
      const bound = listener.address();
      if (bound === null || typeof bound === "string") reject(new Error("the listener has no port"));
      else resolve(bound.port);
    });
  });
  return {
    port,
    drop: (peer) => sockets.get(peer)?.destroy(),
    close: () =>
      new Promise((resolve) => {
        listener.close(() => resolve());
        injector.destroy();
        grpc.forceShutdown();
        for (const socket of sockets.values()) socket.destroy();
      }),
  };
}
