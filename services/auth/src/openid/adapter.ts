/** The OpenID library's storage: one table of sealed records, and clients as the registry tells them. */
import { createHash, randomBytes } from "node:crypto";
import { isUuid, transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import Provider, { type Adapter, type AdapterFactory, type AdapterPayload, errors } from "oidc-provider";
import { lookUpClient } from "../clients/look-up.ts";
import { toMetadata } from "../clients/rules.ts";
import type { Context } from "../context.ts";
import { endSession } from "../sessions/end.ts";
import { findSession } from "../sessions/store.ts";
import { webOrigin } from "../web/request-scope.ts";
import { consumeRecord, findRecord, findRecordByUid, putRecord, removeGrantRecords, removeRecord } from "./store.ts";

type StorageContext = Pick<Context, "db" | "ring" | "clock">;

/** A grant without a life of its own ends with the longest session. */
const LIFETIME_SECONDS_DEFAULT = 12 * 3_600;

export function createAdapters(context: StorageContext): AdapterFactory {
  const unusedSecret = randomBytes(32).toString("base64url");
  return (model) => (model === "Client" ? clientAdapter(context, unusedSecret) : recordAdapter(context, model));
}

function recordAdapter(context: StorageContext, model: string): Adapter {
  const { db, ring, clock } = context;
  const open = (row: { digest: Buffer; sealed: Buffer; consumed: boolean } | undefined): AdapterPayload | undefined => {
    if (row === undefined) return undefined;
    const payload: AdapterPayload = JSON.parse(ring.open("payload", aadOf(model, row.digest), row.sealed).toString());
    return row.consumed ? { ...payload, consumed: true } : payload;
  };

  return {
    async upsert(id, payload, expiresIn = LIFETIME_SECONDS_DEFAULT) {
      const digest = digestOf(id);
      await putRecord(db, {
        model,
        digest,
        uid: payload.uid,
        // A grant falls together with what was given under it.
        grantId: model === "Grant" ? id : payload.grantId,
        sessionId: payload.accountId,
        sealed: ring.seal("payload", aadOf(model, digest), Buffer.from(JSON.stringify(payload))),
        expiresAtMs: clock.nowMs() + expiresIn * 1_000,
      });
    },
    find: async (id) => open(await findRecord(db, model, digestOf(id), clock.nowMs())),
    findByUid: async (uid) => open(await findRecordByUid(db, model, uid, clock.nowMs())),
    findByUserCode: async () => undefined,
    async consume(id) {
      // The library looks before it consumes; of two at once the second one finds out here.
      if (await consumeRecord(db, model, digestOf(id))) return;
      const used = open(await findRecord(db, model, digestOf(id), clock.nowMs()));
      if (used?.grantId !== undefined) await removeGrantRecords(db, used.grantId);
      throw new errors.InvalidGrant("used already");
    },
    async destroy(id) {
      if (model === "Session" && Provider.ctx?.oidc.session?.jti === id) return signOut(context, id);
      await removeRecord(db, model, digestOf(id));
    },
    revokeByGrantId: (grantId) => removeGrantRecords(db, grantId),
  };
}

/** The browser's present session is destroyed (not just given another cookie): the subject signs out. */
async function signOut(context: StorageContext, id: string): Promise<void> {
  const sessionId = Provider.ctx?.oidc.session?.accountId;
  await transaction(context.db, async (tx) => {
    await removeRecord(tx, "Session", digestOf(id));
    if (sessionId === undefined || !isUuid(sessionId)) return;
    const session = await findSession(tx, sessionId);
    if (session === undefined || !(await endSession(tx, sessionId, context.clock.nowMs()))) return;
    const { subject } = session;
    const details = { session: sessionId, by: "sign-out" };
    await recordEvent(context, tx, webOrigin(), {
      type: "session.ended",
      outcome: "SUCCESS",
      actor: subject,
      subject,
      details,
    });
  });
}

function clientAdapter(context: Pick<Context, "db">, unusedSecret: string): Adapter {
  const refuse = async () => {
    throw new Error("clients come from the registry");
  };
  return {
    upsert: refuse,
    async find(id) {
      const client = await lookUpClient(context.db, id);
      return client === undefined ? undefined : toMetadata(client, unusedSecret);
    },
    findByUid: async () => undefined,
    findByUserCode: async () => undefined,
    consume: refuse,
    destroy: refuse,
    revokeByGrantId: refuse,
  };
}

function digestOf(id: string): Buffer {
  return createHash("sha256").update(id).digest();
}

/** A sealed record opens only as what it is, in its own row. */
function aadOf(model: string, digest: Buffer): string {
  return `openid-record:${model}:${digest.toString("base64url")}`;
}
