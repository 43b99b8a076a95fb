import { create, toBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { type ListEntriesRequest, ListEntriesRequestSchema } from "@fujie/api/fujie/audit/v1/log";
import { fieldError } from "@fujie/kit/errors";
import { noConditions, type Question } from "./search.ts";

/** Throws PURPOSE_REQUIRED. */
export function requirePurpose(purpose: string): string {
  if (purpose.trim() === "") throw fieldError("PURPOSE_REQUIRED", "purpose", "is empty");
  return purpose;
}

/** What a request asks for. Throws FIELD_INVALID without a criterion that leads through an index. */
export function readQuestion(request: ListEntriesRequest): Question {
  const { filter, conditions, startTime, endTime } = request;
  if (filter.case === undefined) throw fieldError("FIELD_INVALID", "filter", "is missing");
  const { traceId, subject, actor, applicationId, type, typePrefix } = conditions ?? noConditions;
  const outcome = conditions?.outcome ?? Outcome.UNSPECIFIED;
  return {
    key: filter.case,
    value: filter.value,
    startMs: boundMs(startTime, noConditions.startMs),
    endMs: boundMs(endTime, noConditions.endMs),
    traceId,
    subject,
    actor,
    applicationId,
    type,
    typePrefix,
    outcome: outcome === Outcome.UNSPECIFIED ? "" : Outcome[outcome],
  };
}

/** The question alone, as bytes that are the same for each of its pages. */
export function questionBytes({ purpose, filter, conditions, startTime, endTime }: ListEntriesRequest): Buffer {
  const question = create(ListEntriesRequestSchema, {
    purpose,
    filter,
    ...(conditions === undefined ? {} : { conditions }),
    ...(startTime === undefined ? {} : { startTime }),
    ...(endTime === undefined ? {} : { endTime }),
  });
  return Buffer.from(toBinary(ListEntriesRequestSchema, question));
}

function boundMs(time: Timestamp | undefined, absent: number): number {
  return time === undefined ? absent : Math.ceil(timestampMs(time));
}
