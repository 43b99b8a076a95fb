import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";

/** An absent end is never. */
export function endMsOf(time: Timestamp | undefined): number {
  return time === undefined ? Number.POSITIVE_INFINITY : timestampMs(time);
}
