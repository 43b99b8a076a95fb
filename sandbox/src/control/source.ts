import {
  errorReply,
  type HttpReply,
  type HttpRequest,
  jsonReply,
  notFound,
  parseJson,
  type Room,
} from "../http/reply.ts";
import { FieldError } from "../manners/field-error.ts";
import type { Manners } from "../manners/manners.ts";
import { describeSettings } from "../manners/settings.ts";

/**
 * Steers the sources: `GET /control/<source>` shows counters and settings, `PUT` changes the settings that it names,
 * `DELETE` sets counters, quotas and settings back to the start.
 */
export function createControl(sources: readonly Manners[]): Room {
  const byId = new Map(sources.map((manners) => [manners.id, manners]));
  return async (request) => {
    const manners = byId.get(request.path.slice("/control/".length));
    if (manners === undefined) return notFound();
    try {
      return steer(manners, request);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      return errorReply(400, "MALFORMED", { field: error.field, message: error.message });
    }
  };
}

function steer(manners: Manners, { method, body }: HttpRequest): HttpReply {
  if (method === "PUT") manners.change(parseJson(body));
  else if (method === "DELETE") manners.reset();
  else if (method !== "GET") return errorReply(405, "METHOD_NOT_ALLOWED");
  return jsonReply(200, {
    source: manners.id,
    counters: manners.counters(),
    settings: describeSettings(manners.settings()),
  });
}
