import { createHash } from "node:crypto";
import type { WatchResponse } from "@fujie/api/fujie/feed/v1/feed";

/** The bytes that a feed message's signature covers, as feed.proto defines them. */
export function signedBytes(topic: string, message: Pick<WatchResponse, "resumeToken" | "time" | "event">): Buffer {
  const content = createHash("sha256")
    .update(message.event?.typeUrl ?? "")
    .update(Buffer.of(0))
    .update(message.event?.value ?? new Uint8Array())
    .digest();
  const head = `fujie-feed-v1\n${topic}\n${message.resumeToken}\n${timeMsOf(message)}\n`;
  return Buffer.concat([Buffer.from(head), content]);
}

/** The message's time in milliseconds since the epoch; 0 when it has none. */
export function timeMsOf({ time }: Pick<WatchResponse, "time">): number {
  return time === undefined ? 0 : Number(time.seconds) * 1_000 + Math.floor(time.nanos / 1_000_000);
}
