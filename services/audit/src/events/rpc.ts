import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { Event, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { DomainError } from "@fujie/kit/errors";
import { caller } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { ERASED } from "../subjects/erasures.ts";

/** Events come from services by mutual TLS; which one recorded an event is what its certificate says. */
export function ingestService({ appender, subjectKeys }: Pick<Context, "appender" | "subjectKeys">) {
  const append = async (events: readonly Event[], call: HandlerContext) => {
    const { peer } = caller(call);
    if (peer === undefined) throw new DomainError("PEER_CERTIFICATE_INVALID");
    const indexes = await appender.append(peer, events);
    // Before the acknowledgement: after a crash in between, the log tells it again, and so does the registry.
    for (const subject of erasedAmong(peer, events)) await subjectKeys.erase(subject);
    return { indexes: indexes.map(BigInt) };
  };
  return {
    appendEvents: ({ events }, call) => append(events, call),

    async *streamEvents(requests, call) {
      for await (const { events } of requests) yield await append(events, call);
    },
  } satisfies ServiceImpl<typeof IngestService>;
}

function erasedAmong(service: string, events: readonly Event[]): string[] {
  return events.flatMap(({ type, subject }) =>
    service === ERASED.service && type === ERASED.type && subject !== "" ? [subject] : [],
  );
}
