import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { Event, IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { DomainError } from "@fujie/kit/errors";
import { caller } from "@fujie/kit/serve";
import type { Context } from "../context.ts";

/** Events come from services by mutual TLS; which one recorded an event is what its certificate says. */
export function ingestService({ appender }: Pick<Context, "appender">) {
  const append = async (events: readonly Event[], call: HandlerContext) => {
    const { peer } = caller(call);
    if (peer === undefined) throw new DomainError("PEER_CERTIFICATE_INVALID");
    return { indexes: (await appender.append(peer, events)).map(BigInt) };
  };
  return {
    appendEvents: ({ events }, call) => append(events, call),

    async *streamEvents(requests, call) {
      for await (const { events } of requests) yield await append(events, call);
    },
  } satisfies ServiceImpl<typeof IngestService>;
}
