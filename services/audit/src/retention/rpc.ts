import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type HoldSchema,
  PlaceHoldRequestSchema,
  PlaceHoldResponseSchema,
  type RetentionService,
} from "@fujie/api/fujie/audit/v1/retention";
import { openPage, pageSize, signPage, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { writeOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { recordingRefusals } from "../refusals.ts";
import { findHoldToRelease, type HoldRow, pageHolds, placeHold, releaseHold } from "./store.ts";

type HoldMethods = Pick<ServiceImpl<typeof RetentionService>, "placeHold" | "releaseHold" | "listHolds">;

const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** Legal hold: placed and released with a reason, each an event of the log. */
export function holdMethods(context: Pick<Context, "db" | "ring" | "clock">) {
  const { db, ring, clock } = context;
  return {
    placeHold: (request, call) =>
      writeOnce(
        context,
        call,
        { request, requestSchema: PlaceHoldRequestSchema, responseSchema: PlaceHoldResponseSchema },
        async (tx) => {
          const startMs = request.startTime === undefined ? 0 : timestampMs(request.startTime);
          const endMs = request.endTime === undefined ? null : timestampMs(request.endTime);
          if (endMs !== null && endMs <= startMs)
            throw fieldError("FIELD_INVALID", "end_time", "is not after the start");
          const nowMs = clock.nowMs();
          const placed = {
            startMs,
            endMs,
            reason: request.reason,
            placedBy: subjectOf(call).subject,
            placedAtMs: nowMs,
          };
          const hold = await placeHold(tx, { holdId: uuidv7(nowMs), ...placed });
          if (hold === undefined) throw new Error("a hold was not kept");
          await recordEvent(context, tx, call, { type: "hold.placed", outcome: "SUCCESS", details: detailsOf(hold) });
          return create(PlaceHoldResponseSchema, { hold: describeHold(hold) });
        },
      ),

    releaseHold: recordingRefusals(context, "hold.released", ({ holdId, reason }, call) =>
      transaction(db, async (tx) => {
        const found = await findHoldToRelease(tx, holdId);
        if (found === undefined) throw new DomainError("HOLD_NOT_FOUND");
        if (found.releasedAtMs !== null) throw new DomainError("HOLD_RELEASED");
        const hold = await releaseHold(tx, holdId, { by: subjectOf(call).subject, atMs: clock.nowMs(), reason });
        if (hold === undefined) throw new DomainError("HOLD_NOT_FOUND");
        const details = { ...detailsOf(hold), release_reason: reason };
        await recordEvent(context, tx, call, { type: "hold.released", outcome: "SUCCESS", details });
        return { hold: describeHold(hold) };
      }),
    ),

    async listHolds(request) {
      const size = pageSize(request.pageSize, { default: 50, max: 100 });
      const filter = ["holds"];
      const [before = LAST_ID] = openPage(request.pageToken, filter, ring) ?? [];
      const found = await pageHolds(db, String(before), size + 1);
      const page = found.slice(0, size);
      const last = found.length > size ? page.at(-1) : undefined;
      return {
        holds: page.map(describeHold),
        nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.holdId] }, ring),
      };
    },
  } satisfies HoldMethods;
}

function describeHold(hold: HoldRow): MessageInitShape<typeof HoldSchema> {
  const { holdId, startMs, endMs, reason, placedBy, placedAtMs, releasedBy, releasedAtMs, releaseReason } = hold;
  return {
    holdId,
    startTime: timestampFromMs(startMs),
    ...(endMs === null ? {} : { endTime: timestampFromMs(endMs) }),
    reason,
    placedBy,
    placeTime: timestampFromMs(placedAtMs),
    releasedBy: releasedBy ?? "",
    ...(releasedAtMs === null ? {} : { releaseTime: timestampFromMs(releasedAtMs) }),
    releaseReason: releaseReason ?? "",
  };
}

function detailsOf({ holdId, startMs, endMs, reason }: HoldRow): Record<string, string> {
  return { hold_id: holdId, start_ms: String(startMs), end_ms: endMs === null ? "" : String(endMs), reason };
}
