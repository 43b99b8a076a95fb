import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import type { EntrySummarySchema } from "@fujie/api/fujie/audit/v1/log";
import { decodeEntry } from "@fujie/transparency";

const outcomes: Readonly<Record<string, Outcome>> = {
  SUCCESS: Outcome.SUCCESS,
  REFUSED: Outcome.REFUSED,
  FAILED: Outcome.FAILED,
  PENDING: Outcome.PENDING,
};

/** An entry as its preimage tells it: what the leaf binds, not what the columns say. */
export function summarise(index: number, preimage: Uint8Array): MessageInitShape<typeof EntrySummarySchema> {
  const {
    timeMs,
    outcome,
    detailsSha256: _sealed,
    organisationId: _unsaid,
    purpose: _why,
    ...rest
  } = decodeEntry(preimage);
  return {
    ...rest,
    index: BigInt(index),
    time: timestampFromMs(timeMs),
    outcome: outcomes[outcome] ?? Outcome.UNSPECIFIED,
  };
}
