import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Logger } from "@fujie/kit/log";
import { FormatError, parseTilePath, TILE_WIDTH } from "@fujie/transparency";
import type { Context } from "../context.ts";
import type { PublishedCheckpoint } from "../log/store.ts";
import { readPublished, readWitnessed } from "../witnessing/store.ts";
import { readEntryBundle } from "./read-tiles.ts";

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly cacheControl: string;
  readonly body: Uint8Array | string;
}

const PREFIX = "/log/";
const IMMUTABLE = "public, max-age=31536000, immutable";
/** A checkpoint is soon overtaken; an intermediary may spare us repetitions for a moment. */
const FLEETING = "public, max-age=1";

const notFound: Answer = { status: 404, type: "text/plain", cacheControl: "no-store", body: "not found\n" };
const notReady: Answer = { status: 503, type: "text/plain", cacheControl: "no-store", body: "unavailable\n" };
const notAllowed: Answer = { status: 405, type: "text/plain", cacheControl: "no-store", body: "only GET\n" };

/**
 * Serves the log as static resources (c2sp.org/tlog-tiles): /log/checkpoint, /log/tile/…, /log/tile/entries/…; and
 * /log/witnessed-checkpoint, the newest checkpoint that a witness cosigned.
 */
export function serveTiles(context: Pick<Context, "db" | "tiles" | "log">): RequestListener {
  return (request, response) => void respond(context, request, response);
}

async function respond(
  context: Pick<Context, "db" | "tiles" | "log">,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const answer = await answerTo(context, request).catch((error: unknown) => unavailable(context.log, error));
  const { status, type, cacheControl, body } = answer;
  response.writeHead(status, {
    "content-type": type,
    "content-length": typeof body === "string" ? Buffer.byteLength(body) : body.length,
    "cache-control": cacheControl,
    "x-content-type-options": "nosniff",
    ...(status === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function unavailable(log: Pick<Logger, "error">, error: unknown): Answer {
  log.error({ error }, "a tile could not be read");
  return notReady;
}

async function answerTo(context: Pick<Context, "db" | "tiles">, request: IncomingMessage): Promise<Answer> {
  const path = request.url ?? "";
  if (!path.startsWith(PREFIX)) return notFound;
  if (request.method !== "GET" && request.method !== "HEAD") return notAllowed;
  const resource = path.slice(PREFIX.length);
  if (resource === "witnessed-checkpoint") return noteOf(await readWitnessed(context.db)) ?? notFound;
  const checkpoint = await readPublished(context.db);
  if (checkpoint === undefined) return notReady;
  if (resource === "checkpoint") return noteOf(checkpoint) ?? notFound;
  const body = await readResource(context, resource, checkpoint.size);
  if (body === undefined) return notFound;
  return { status: 200, type: "application/octet-stream", cacheControl: IMMUTABLE, body };
}

function noteOf(checkpoint: PublishedCheckpoint | undefined): Answer | undefined {
  if (checkpoint === undefined) return undefined;
  return { status: 200, type: "text/plain; charset=utf-8", cacheControl: FLEETING, body: checkpoint.note };
}

async function readResource(
  { db, tiles }: Pick<Context, "db" | "tiles">,
  resource: string,
  size: number,
): Promise<Uint8Array | undefined> {
  const tile = parsed(resource);
  if (tile === undefined) return undefined;
  const { level, index, width } = tile;
  // Only what a published checkpoint covers exists.
  const nodes = level === "entries" ? size : Math.floor(size / TILE_WIDTH ** level);
  if (index * TILE_WIDTH + width > nodes) return undefined;
  return level === "entries" ? readEntryBundle(db, index, width) : tiles({ level, index, width });
}

function parsed(resource: string): ReturnType<typeof parseTilePath> | undefined {
  try {
    return parseTilePath(resource);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
