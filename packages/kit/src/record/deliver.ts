import { fromBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { EventSchema, type IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import type { KeyRing } from "../keys/index.ts";
import type { Deliver } from "../outbox/index.ts";
import { outboxAad } from "./record-event.ts";

/** The outbox's destination "audit": acknowledged once the log has sealed every event of the batch. */
export function auditDestination(
  ingest: Pick<Client<typeof IngestService>, "appendEvents">,
  ring: Pick<KeyRing, "open">,
): Deliver {
  return async (batch, signal) => {
    const events = batch.map(({ id, payload }) =>
      fromBinary(EventSchema, ring.open("payload", outboxAad(id), payload)),
    );
    await ingest.appendEvents({ events }, { signal });
  };
}
