import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import {
  AppendEventsRequestSchema,
  AppendEventsResponseSchema,
  type Event,
  type IngestService,
} from "@fujie/api/fujie/audit/v1/ingest";
import { VerifyRequestSchema, VerifyResponseSchema } from "@fujie/api/fujie/trust/v1/verification";
import { testDatabase } from "@fujie/embedded/testing";
import { manualClock } from "@fujie/kit/clock";
import { type Database, describeClaim, migrate, openDatabase, replayRequest, roleOf, uuidv7 } from "@fujie/kit/db";
import { type FileKeyRing, openFileKeyRing, provisionKeys } from "@fujie/kit/keys";
import { createLogger } from "@fujie/kit/log";
import { auditDestination } from "@fujie/kit/record";
import { sealBatch } from "@fujie/transparency";
import { prepareDecision } from "../src/verifications/decision.ts";
import { readVerification } from "../src/verifications/store.ts";
import { createWriter, type NewQuestion, type Writer } from "../src/verifications/writer.ts";

const MIGRATIONS = fileURLToPath(new URL("../migrations", import.meta.url));
const clock = manualClock(Date.UTC(2026, 5, 1));
const closers: (() => unknown)[] = [];
let db: Database;
let ring: FileKeyRing;
let writer: Writer;

before(async () => {
  const dir = mkdtempSync(join(tmpdir(), "fujie-writer-"));
  closers.push(() => rmSync(dir, { recursive: true, force: true }));
  const database = await testDatabase();
  closers.push(() => database[Symbol.asyncDispose]());
  const log = createLogger({ service: "trust-gateway", level: "error", destination: { write: () => {} } });
  await migrate({ url: database.ownerUrl, dir: MIGRATIONS, runtimeRole: roleOf(database.runtimeUrl), log });
  const keys = provisionKeys({ rootDir: join(dir, "keys"), services: ["trust-gateway"], clock });
  ring = openFileKeyRing(keys.keysDir("trust-gateway"), { service: "trust-gateway", clock });
  closers.push(() => ring[Symbol.dispose]());
  db = openDatabase({ url: database.runtimeUrl, poolMax: 4, service: "test" });
  closers.push(() => db[Symbol.asyncDispose]());
  writer = createWriter({ db, ring, clock });
});
after(async () => {
  for (const close of closers.reverse()) await close();
});

const claim = { type: "PERSON_TWO_ELEMENT", citizenId: "11010519491231002X", personName: "测试" } as const;
const periods = {
  keepMs: 1_000,
  saltKeepMs: 1_000,
  leaseMs: 1,
  retryBaseMs: 1,
  retryCapMs: 1,
  pendingKeepMs: 1,
  reviewKeepMs: 1,
};

interface Wish {
  readonly requestId?: string;
  readonly grantId?: string;
  readonly decided?: boolean;
  readonly sm2Receipt?: boolean;
  readonly broken?: boolean;
}

function requestOf(requestId: string) {
  return {
    caller: "application:a:c",
    method: "Verify",
    requestId,
    requestSchema: VerifyRequestSchema,
    request: create(VerifyRequestSchema, { requestId }),
    responseSchema: VerifyResponseSchema,
    keys: ring,
    clock,
  };
}

function question({
  requestId = randomUUID(),
  grantId,
  decided = false,
  sm2Receipt = false,
  broken = false,
}: Wish): NewQuestion {
  const verificationId = uuidv7(clock.nowMs());
  const elements = ring.hmac("blind-index", "elements");
  const row = {
    verificationId,
    applicationId: broken ? undefined : "a",
    reference: undefined,
    claimType: claim.type,
    purpose: "purpose",
    ground: "legal-basis:x",
    accountId: undefined,
    levelWanted: 1,
    elements,
    elementsDigest: elements.digest,
    sealedElements: Buffer.from("sealed"),
    attempts: 0,
    createdAtMs: 0,
    traceId: "",
    nowMs: clock.nowMs(),
    leaseUntilMs: clock.nowMs() + 1,
  };
  const evidence = [
    {
      evidenceId: randomUUID(),
      verificationId,
      sourceId: "population-base",
      verdict: "MATCH",
      level: 2,
      checkedAtMs: clock.nowMs(),
      subjectDigest: elements.digest,
    },
  ] as const;
  const unwritten = decided
    ? prepareDecision(
        { clock, periods },
        { row: { ...row, applicationId: "a" }, claim },
        { outcome: "VERIFIED", level: 2 },
        { evidence, calls: [], shared: ["population-base"] },
        { toldPending: false, sm2Receipt },
      )
    : undefined;
  return {
    request: describeClaim(requestOf(requestId), create(VerifyResponseSchema, { verification: { verificationId } })),
    spends: grantId === undefined ? [] : [{ key: grantId, expiresAtMs: clock.nowMs() + 1, refusal: "CONSENT_USED" }],
    row: decided ? { ...row, sealedElements: undefined } : row,
    checks: decided
      ? []
      : [
          {
            verificationId,
            sourceId: "population-base",
            bizSeq: randomBytes(16).toString("hex"),
            nonce: randomBytes(32),
            askedAtMs: clock.nowMs(),
          },
        ],
    decided: unwritten,
    event:
      unwritten?.event ??
      prepareDecision(
        { clock, periods },
        { row, claim },
        { outcome: "REJECTED" },
        { evidence: [], calls: [], shared: [] },
        { toldPending: false, sm2Receipt: false },
      ).event,
  };
}

const kindsOf = async (questions: readonly NewQuestion[]) =>
  (await Promise.all(questions.map((each) => writer.ask(each)))).map(({ kind }) => kind);

type Appending = Client<typeof IngestService>["appendEvents"];

/** The events that wait for the audit log, by type, oldest first; none waits afterwards. */
async function drainEvents(): Promise<Event[]> {
  const { rows } = await db.query<{ id: string; payload: Buffer }>("DELETE FROM kit.outbox RETURNING id, payload");
  const events: Event[] = [];
  const appendEvents: Appending = async (request) => {
    events.push(...create(AppendEventsRequestSchema, request).events);
    return create(AppendEventsResponseSchema);
  };
  await auditDestination({ appendEvents }, ring)(rows, AbortSignal.timeout(1_000));
  return events;
}

test("a batch is one transaction, one receipt signature and one message to the audit log", async () => {
  const questions = Array.from({ length: 20 }, (_, i) => question({ decided: true, sm2Receipt: i === 7 }));
  const written = await Promise.all(questions.map((each) => writer.ask(each)));
  const { rows } = await db.query<{ n: number }>("SELECT count(*)::int AS n FROM kit.outbox");
  assert.equal(rows[0]?.n, 1);
  const events = await drainEvents();
  const [signed, ...others] = events.filter(({ type }) => type === "receipts.signed");
  assert.equal(others.length, 0);
  const receipts = written.map((each) => (each.kind === "written" ? each.receipt : undefined));
  const statements = receipts.map((receipt) => receipt?.statement ?? new Uint8Array());
  assert.deepEqual(Buffer.from(signed?.digest ?? []), Buffer.from(sealBatch(statements).root));
  assert.equal(new Set(receipts.map((receipt) => Buffer.from(receipt?.signature ?? []).toString("hex"))).size, 1);
  assert.deepEqual(receipts.map((receipt) => (receipt?.sm2Signature.length ?? 0) > 0).indexOf(true), 7);
  const kept = await readVerification(db, questions[3]?.row.verificationId ?? "");
  assert.equal(kept?.state, "VERIFIED");
  assert.equal(kept.receiptEventId, signed?.eventId);
  assert.equal(events.length, 21);
});

test("the conflict of one question is its own: the others of its batch are written", async () => {
  const [requestId, grantId, other] = [randomUUID(), randomUUID(), randomUUID()];
  const questions = [
    question({ requestId }),
    question({ requestId }),
    question({ grantId }),
    question({ grantId, requestId: other, decided: true }),
    question({ decided: true }),
  ];
  assert.deepEqual(await kindsOf(questions), ["written", "second", "written", "spent", "written"]);
  assert.deepEqual(await kindsOf([question({ requestId }), question({ grantId }), question({})]), [
    "second",
    "spent",
    "written",
  ]);
  const first = await replayRequest(db, requestOf(requestId));
  assert.equal(first?.verification?.verificationId, questions[0]?.row.verificationId);
  // Who was refused left nothing: neither a row nor its request_id.
  assert.equal(await readVerification(db, questions[3]?.row.verificationId ?? ""), undefined);
  assert.equal(await replayRequest(db, requestOf(other)), undefined);
  assert.deepEqual(await kindsOf([question({ requestId: other })]), ["written"]);
});

test("a fault of one item fails it alone", async () => {
  const settled = await Promise.allSettled(
    [{}, { broken: true }, { decided: true }].map((wish) => writer.ask(question(wish))),
  );
  assert.deepEqual(
    settled.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
});

test("of two decisions of one verification the first counts, and the second leaves nothing", async () => {
  const asked = question({});
  await writer.ask(asked);
  await drainEvents();
  const { verificationId } = asked.row;
  const row = { ...asked.row, sealedElements: Buffer.of(), elementsDigest: Buffer.of(), attempts: 0, createdAtMs: 0 };
  const decide = (outcome: "REJECTED" | "EXPIRED") =>
    writer.decide(
      prepareDecision(
        { clock, periods },
        { row, claim },
        { outcome },
        { evidence: [], calls: [], shared: [] },
        { toldPending: true, sm2Receipt: false },
      ),
    );
  const results = await Promise.all([decide("REJECTED"), decide("EXPIRED")]);
  assert.deepEqual(
    results.map(({ kind }) => kind),
    ["written", "second"],
  );
  assert.equal((await decide("EXPIRED")).kind, "second");
  assert.equal((await readVerification(db, verificationId))?.state, "REJECTED");
  const decisions = (await drainEvents()).filter(({ type }) => type === "verification.decided");
  assert.equal(decisions.length, 1);
  const { rows } = await db.query<{ topic: string }>("SELECT topic FROM kit.feed_event");
  assert.deepEqual(rows, [{ topic: "application.a" }]);
});
