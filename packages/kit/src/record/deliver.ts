import type { Client } from "@connectrpc/connect";
import type { IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import type { KeyRing } from "../keys/index.ts";
import type { Deliver } from "../outbox/index.ts";
import { chunksOf, decodeEnvelope } from "./envelope.ts";
import { outboxAad } from "./record-event.ts";

/** Events of one request: what the log takes into one batch with room to spare. */
const APPEND_EVENTS_MAX = 256;

/** The outbox's destination "audit": acknowledged once the log has sealed every event of the batch. */
export function auditDestination(
  ingest: Pick<Client<typeof IngestService>, "appendEvents">,
  ring: Pick<KeyRing, "open">,
): Deliver {
  return async (batch, signal) => {
    const events = batch.flatMap(({ id, payload }) => decodeEnvelope(ring.open("payload", outboxAad(id), payload)));
    // One after another, so that a destination that is busy is not made busier.
    for (const chunk of chunksOf(events, APPEND_EVENTS_MAX)) await ingest.appendEvents({ events: chunk }, { signal });
  };
}
