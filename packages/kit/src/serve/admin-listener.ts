import { createServer, type ServerResponse } from "node:http";
import type { Telemetry } from "../telemetry/index.ts";
import type { Address } from "./address.ts";
import type { Readiness } from "./health.ts";
import { portOf } from "./http-listener.ts";

export interface AdminListener {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Opens the plain HTTP port for probes and Prometheus: /livez (the process answers, nothing else), /startupz and
 * /readyz (every readiness check by name), /metrics. It tells nothing about anybody and takes no body.
 */
export async function openAdminListener(
  address: Address,
  readiness: Readiness,
  telemetry: Pick<Telemetry, "prometheusText">,
): Promise<AdminListener> {
  let started = false;

  async function answer(path: string, response: ServerResponse): Promise<void> {
    if (path === "/livez") return sendJson(response, 200, { live: true });
    if (path === "/metrics") return send(response, 200, "text/plain; version=0.0.4", await telemetry.prometheusText());
    if (path !== "/readyz" && path !== "/startupz") return sendJson(response, 404, {});
    const { ready, checks } = await readiness.read();
    started ||= ready;
    sendJson(response, (path === "/startupz" ? started : ready) ? 200 : 503, { checks });
  }

  const server = createServer({ maxHeaderSize: 8 * 1024, requestTimeout: 5000 }, (request, response) => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405).end();
      return;
    }
    answer(request.url?.split("?", 1)[0] ?? "", response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, () => resolve());
  });
  return {
    port: portOf(server.address()),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  send(response, status, "application/json", JSON.stringify(body));
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
}
