import { create } from "@bufbuild/protobuf";
import { anyPack, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { RevocationKind, RevokedSchema } from "@fujie/api/fujie/auth/v1/events";
import type { Transaction } from "@fujie/kit/db";
import { publish } from "@fujie/kit/feed";

export const REVOCATIONS_TOPIC = "auth.revocations";

export interface Ended {
  readonly kind: "session" | "subject" | "client";
  readonly id: string;
}

const kinds = {
  session: RevocationKind.SESSION,
  subject: RevocationKind.SUBJECT,
  client: RevocationKind.CLIENT,
} as const;

/** Tells every service, once the transaction commits, that tokens issued up to `atMs` are void. */
export async function publishRevoked(tx: Transaction, atMs: number, ...ended: readonly Ended[]): Promise<void> {
  const events = ended.map(({ kind, id }) =>
    anyPack(RevokedSchema, create(RevokedSchema, { kind: kinds[kind], id, time: timestampFromMs(atMs) })),
  );
  await publish(tx, REVOCATIONS_TOPIC, ...events);
}
