import type { RequestListener } from "node:http";
import { parseDay } from "../analysis/china-time.ts";
import type { Context } from "../context.ts";
import { findStatistics } from "./store.ts";

const PATH = /^\/log\/statistics\/(\d{4}-\d{2}-\d{2})\.json$/;
/** Static from its publication on. */
const IMMUTABLE = "public, max-age=31536000, immutable";

/** Serves /log/statistics/<day>.json, and hands everything else on. */
export function serveStatistics(context: Pick<Context, "db" | "log">, next: RequestListener): RequestListener {
  return (request, response) => {
    const [, text = ""] = PATH.exec(request.url ?? "") ?? [];
    const day = request.method === "GET" || request.method === "HEAD" ? parseDay(text) : undefined;
    if (day === undefined) return next(request, response);
    const answer = (status: number, cacheControl: string, body: Buffer): void => {
      response.writeHead(status, {
        "content-type": status === 200 ? "application/json" : "text/plain",
        "content-length": body.length,
        "cache-control": cacheControl,
        "x-content-type-options": "nosniff",
      });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    findStatistics(context.db, day).then(
      (published) => {
        if (published === undefined) answer(404, "no-store", Buffer.from("not found\n"));
        else answer(200, IMMUTABLE, published.document);
      },
      (error: unknown) => {
        context.log.error({ error }, "statistics could not be read");
        answer(503, "no-store", Buffer.from("unavailable\n"));
      },
    );
  };
}
