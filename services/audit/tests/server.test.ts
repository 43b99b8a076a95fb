import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { IngestService, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { type EntrySummary, type GetEntryResponse, LogService } from "@fujie/api/fujie/audit/v1/log";
import { BadRequestSchema, ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { accessCases, runAccessCase } from "@fujie/kit/access-suite";
import { systemClock } from "@fujie/kit/clock";
import { transaction } from "@fujie/kit/db";
import {
  decodeEntryBundle,
  decodeHashTile,
  entryLeaf,
  leafHash,
  parseCheckpoint,
  parseNote,
  verifyConsistency,
  verifyInclusion,
} from "@fujie/transparency";
import { credentials } from "@grpc/grpc-js";
import { entryVerifier, readEntryFile } from "../../../packages/cli/src/verify/entry.ts";
import { openCheckpoint } from "../src/log/checkpoints.ts";
import { openSubjectKeys } from "../src/subjects/subject-keys.ts";
import {
  makeEvent,
  makeEvents,
  ORIGIN,
  startTestServer,
  type TestServer,
  until,
  usePostgres,
  verifyTestLog,
} from "./fixture.ts";

usePostgres();

const PURPOSE = "incident.review";
const cleanups: (() => Promise<void> | void)[] = [];
let audit: TestServer;
before(async () => {
  audit = await startTestServer({ after: (fn) => void cleanups.push(fn) });
});
after(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

const ingestAs = async (service: string) => (await audit.peer(service))(IngestService);
const auditor = () => audit.reader(["audit.read"]);
const byIndex = (index: bigint) => ({ purpose: PURPOSE, entry: { case: "index", value: index } }) as const;

/** Reason and fields of a refusal, over HTTP or, as the cause of a service's own error, over mutual TLS. */
async function failureOf(call: Promise<unknown>): Promise<{ reason: string; fields: string[] }> {
  const thrown = await call.then(
    () => assert.fail("the call succeeded"),
    (error: unknown) => error,
  );
  const error = ConnectError.from(
    thrown instanceof Error && thrown.cause instanceof ConnectError ? thrown.cause : thrown,
  );
  return {
    reason: error.findDetails(ErrorInfoSchema)[0]?.reason ?? error.rawMessage,
    fields: error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations.map(({ field }) => field)),
  };
}

const reasonOf = async (call: Promise<unknown>) => (await failureOf(call)).reason;

async function append(...events: ReturnType<typeof makeEvent>[]): Promise<bigint[]> {
  const { indexes } = await (await ingestAs("registry")).appendEvents({ events });
  return indexes;
}

function fileOf({ preimage, salt, proofBundle }: GetEntryResponse) {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  return { preimage: base64(preimage), salt: base64(salt), proofBundle };
}

const publicKeys = () => ({ bundleFile: audit.log.keys.bundleFile, bundleRootFile: audit.log.keys.bundleRootFile });

for (const each of accessCases([IngestService, LogService], {
  publicMethods: ["GetCheckpoint", "GetInclusionProof", "GetConsistencyProof"].map(
    (method) => `${LogService.typeName}/${method}`,
  ),
})) {
  test(each.title, () =>
    runAccessCase(
      {
        address: `127.0.0.1:${audit.server.grpcPort}`,
        channelCredentials: credentials.createSsl(readFileSync(audit.caFile)),
        mintToken: (scopes) => audit.mintToken(scopes),
      },
      each,
    ),
  );
}

test("NI-32 a service gets the proof of its own events, digest included, and of nobody else's", async () => {
  const digest = new Uint8Array(32).fill(7);
  const event = makeEvent({ type: "receipts.signed", digest });
  await append(event);
  const as = async (service: string) =>
    (await audit.peer(service))(LogService).getEventProof({ eventId: event.eventId });
  const file = await as("registry");
  const verdict = entryVerifier(publicKeys())({
    preimage: Buffer.from(file.preimage).toString("base64"),
    salt: Buffer.from(file.salt).toString("base64"),
    proofBundle: file.proofBundle,
  });
  assert.ok(verdict.ok);
  assert.deepEqual([verdict.entry.eventId, [...verdict.entry.digest]], [event.eventId, [...digest]]);
  assert.equal(await reasonOf(as("trust-gateway")), "ENTRY_NOT_FOUND");
});

test("NI-32 an authentication is in the log with a proof that a separate verifier accepts with public keys alone", async () => {
  const event = makeEvent({
    type: "session.started",
    actor: "account-7",
    subject: "account-7",
    organisationId: "organisation-3",
    purpose: "sign-in",
    details: { method: "certificate", network: "203.0.113.7" },
  });
  const [index = -1n] = await append(event);
  const found = await auditor().getEntry({ purpose: PURPOSE, entry: { case: "eventId", value: event.eventId } });
  assert.equal(found.summary?.index, index);
  assert.deepEqual(found.details, { method: "certificate", network: "203.0.113.7" });
  const file = join(audit.log.folder, "entry.json");
  writeFileSync(file, JSON.stringify(fileOf(found)));
  const verdict = entryVerifier(publicKeys())(readEntryFile(file));
  assert.ok(verdict.ok);
  assert.deepEqual([verdict.index, verdict.origin], [Number(index), ORIGIN]);
  const { service, eventId, type, outcome, actor, subject, organisationId, purpose } = verdict.entry;
  assert.deepEqual(
    [service, eventId, type, outcome, actor, subject, organisationId, purpose],
    ["registry", event.eventId, "session.started", "SUCCESS", "account-7", "account-7", "organisation-3", "sign-in"],
  );
});

test("NI-32 an altered entry, salt, path, index or checkpoint is refused by the verifier", async () => {
  const [index = -1n] = await append(makeEvent());
  await append(makeEvent());
  const found = await auditor().getEntry(byIndex(index));
  const sound = fileOf(found);
  assert.ok(entryVerifier(publicKeys())(sound).ok);
  const flip = (text: string): string => {
    const bytes = Buffer.from(text, "base64");
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    return bytes.toString("base64");
  };
  const { proofBundle } = sound;
  const altered = [
    { ...sound, preimage: flip(sound.preimage) },
    { ...sound, salt: flip(sound.salt) },
    { ...sound, proofBundle: proofBundle.replace(`index ${index}`, `index ${index + 1n}`) },
    { ...sound, proofBundle: proofBundle.replace(/^(index \d+)\n.+$/m, "$1") },
    {
      ...sound,
      proofBundle: proofBundle.replace(/(\n\n.+\n)(\d+)\n/, (_all, origin, size) => `${origin}${Number(size) + 1}\n`),
    },
    { ...sound, proofBundle: proofBundle.replaceAll(ORIGIN, "another.example") },
  ];
  for (const [at, entry] of altered.entries()) {
    const bundle =
      entry.proofBundle !== sound.proofBundle || entry.preimage !== sound.preimage || entry.salt !== sound.salt;
    assert.ok(bundle, `alteration ${at} changes something`);
    assert.equal(entryVerifier(publicKeys())(entry).ok, false, `alteration ${at}`);
  }
});

test("NI-19 an erased subject's details are gone for good, and the proof of the entry stays valid", async () => {
  const [index = -1n] = await append(makeEvent({ subject: "account-erased", details: { name: "somebody" } }));
  const { log } = audit;
  await openSubjectKeys({ ...log, clock: systemClock }).erase("account-erased");
  const found = await auditor().getEntry(byIndex(index));
  assert.deepEqual(found.details, {});
  assert.ok(entryVerifier(publicKeys())(fileOf(found)).ok);
  const { rows } = await log.db.query<{ all: string }>(
    `SELECT string_agg(encode(record_send(entry), 'escape'), ',') AS all FROM audit.entry`,
  );
  assert.ok(!rows[0]?.all.includes("somebody"), "no plaintext of details in the log");
});

test("who recorded an event is what the certificate says", async () => {
  const event = makeEvent();
  const { indexes } = await (await ingestAs("trust-gateway")).appendEvents({ events: [event] });
  const { summary } = await auditor().getEntry(byIndex(indexes[0] ?? -1n));
  assert.equal(summary?.service, "trust-gateway");
  assert.equal(await reasonOf(append(event)), "EVENT_CONFLICT", "another service cannot claim it");
  assert.equal(await reasonOf((await ingestAs("sandbox")).appendEvents({ events: [makeEvent()] })), "PEER_FORBIDDEN");
});

test("a batch with a bad event names its position, and nothing of it is stored", async () => {
  const events = [makeEvent(), makeEvent({ traceId: "not a trace" })];
  const client = await ingestAs("registry");
  assert.deepEqual(await failureOf(client.appendEvents({ events })), {
    reason: "EVENT_INVALID",
    fields: ["events[1].trace_id"],
  });
  const nameless = [makeEvent(), makeEvent(), makeEvent({ outcome: Outcome.UNSPECIFIED })];
  assert.deepEqual(await failureOf(client.appendEvents({ events: nameless })), {
    reason: "FIELD_INVALID",
    fields: ["events[2].outcome"],
  });
  assert.equal(await reasonOf(client.appendEvents({ events: [] })), "FIELD_INVALID");
  const stored = await audit.log.db.query({
    text: "SELECT 1 FROM audit.event WHERE event_id = $1",
    values: [events[0]?.eventId],
  });
  assert.equal(stored.rowCount, 0);
});

test("a stream answers each batch in order, known events among them", async () => {
  const client = await ingestAs("auth");
  const batches = [makeEvents(300), makeEvents(5), makeEvents(40)];
  const sent = [...batches, batches[1] ?? []];
  const answers: bigint[][] = [];
  const requests = async function* () {
    for (const events of sent) yield { events };
  };
  for await (const { indexes } of client.streamEvents(requests())) answers.push(indexes);
  assert.deepEqual(
    answers.map((indexes) => indexes.length),
    [300, 5, 40, 5],
  );
  assert.deepEqual(answers[3], answers[1]);
  const all = answers.slice(0, 3).flat();
  assert.deepEqual(
    all.toSorted((a, b) => Number(a - b)),
    all,
  );
});

test("anybody gets the checkpoint and proofs; sizes and indexes beyond the log are refused", async () => {
  await append(...makeEvents(20));
  const reader = audit.reader();
  const { note } = await reader.getCheckpoint({});
  const checkpoint = openCheckpoint(note, audit.log.verifiers, ORIGIN);
  assert.ok(checkpoint);
  assert.equal(parseNote(note).signatures.length, 2);
  await append(...makeEvents(20));

  const proof = await reader.getInclusionProof({ index: 3n, treeSize: BigInt(checkpoint.size) });
  const { leafHash: hash, path } = proof;
  const claim = { leafHash: hash, index: 3, size: checkpoint.size, path, root: checkpoint.root };
  assert.deepEqual(verifyInclusion(claim), { ok: true });

  const newest = await reader.getConsistencyProof({ firstSize: BigInt(checkpoint.size) });
  const grown = parseCheckpoint(parseNote(newest.checkpoint).text);
  assert.equal(BigInt(grown.size), newest.secondSize);
  const consistency = {
    oldSize: checkpoint.size,
    oldRoot: checkpoint.root,
    newSize: grown.size,
    newRoot: grown.root,
    path: newest.path,
  };
  assert.deepEqual(verifyConsistency(consistency), { ok: true });
  const beyond = BigInt(grown.size) + 1_000_000n;
  assert.equal(await reasonOf(reader.getInclusionProof({ index: beyond })), "ENTRY_NOT_FOUND");
  assert.equal(await reasonOf(reader.getInclusionProof({ index: 4n, treeSize: 4n })), "ENTRY_NOT_FOUND");
  assert.equal(await reasonOf(reader.getInclusionProof({ index: 0n, treeSize: beyond })), "TREE_SIZE_INVALID");
  assert.equal(await reasonOf(reader.getConsistencyProof({ firstSize: 5n, secondSize: 4n })), "TREE_SIZE_INVALID");
  assert.equal(await reasonOf(reader.getConsistencyProof({ firstSize: 5n, secondSize: beyond })), "TREE_SIZE_INVALID");
  assert.equal(await reasonOf(reader.getInclusionProof({ index: -1n })), "FIELD_INVALID");
});

test("the tree is served as C2SP tiles: enough to recompute any entry's place", async () => {
  const [index = -1n] = await append(...makeEvents(300));
  const get = async (path: string, method = "GET") => {
    const response = await fetch(`${audit.httpUrl}/log/${path}`, { method });
    return { status: response.status, headers: response.headers, bytes: new Uint8Array(await response.arrayBuffer()) };
  };
  const published = await get("checkpoint");
  assert.equal(published.status, 200);
  const checkpoint = openCheckpoint(Buffer.from(published.bytes).toString("utf8"), audit.log.verifiers, ORIGIN);
  assert.ok(checkpoint);
  const full = await get("tile/0/000");
  assert.deepEqual([full.status, full.bytes.length], [200, 8_192]);
  assert.match(full.headers.get("cache-control") ?? "", /immutable/);
  const width = checkpoint.size % 256;
  const last = String(Math.floor(checkpoint.size / 256)).padStart(3, "0");
  assert.equal(decodeHashTile((await get(`tile/0/${last}.p/${width}`)).bytes, width).length, width);
  const upper = await get(`tile/1/000.p/${Math.floor(checkpoint.size / 256)}`);
  assert.equal(upper.bytes.length, 32 * Math.floor(checkpoint.size / 256));

  const bundle = decodeEntryBundle((await get("tile/entries/000")).bytes, 256);
  const hashes = decodeHashTile(full.bytes, 256);
  assert.deepEqual(bundle.map(leafHash), hashes);
  const entry = await auditor().getEntry(byIndex(0n));
  assert.deepEqual(bundle[0], entryLeaf(entry.preimage, entry.salt), "the leaf is the salted commitment, nothing more");

  const missing = [
    `tile/0/${last}`,
    "tile/0/900.p/1",
    `tile/0/0`,
    "tile/0/000.p/256",
    "tile/64/000",
    "tile/entries/999",
    "tile/0/x001/000",
    "secrets",
    "checkpoint?x",
    "../fujie.audit.v1.LogService",
  ];
  for (const path of missing) assert.equal((await get(path)).status, 404, path);
  assert.equal((await get("checkpoint", "POST")).status, 405);
  assert.deepEqual(
    [(await get("checkpoint", "HEAD")).status, (await get("checkpoint", "HEAD")).bytes.length],
    [200, 0],
  );
  assert.ok(index >= 0n);
});

test("entries are found by each filter, newest first, page by page, within a time range", async () => {
  const traceId = "f".repeat(32);
  const events = Array.from({ length: 7 }, (_, at) =>
    makeEvent({
      traceId,
      subject: "account-search",
      actor: "operator-search",
      applicationId: "application-search",
      type: "document.archived",
      time: timestampFromMs(1_700_000_000_000 + at * 1_000),
    }),
  );
  await append(...events);
  const client = auditor();
  const filters = [
    { case: "traceId", value: traceId },
    { case: "subject", value: "account-search" },
    { case: "actor", value: "operator-search" },
    { case: "applicationId", value: "application-search" },
    { case: "type", value: "document.archived" },
  ] as const;
  const newestFirst = events.map(({ eventId }) => eventId).toReversed();
  for (const filter of filters) {
    const found: EntrySummary[] = [];
    let pageToken = "";
    let pages = 0;
    do {
      const page = await client.listEntries({ purpose: PURPOSE, filter, pageSize: 3, pageToken });
      found.push(...page.entries);
      pageToken = page.nextPageToken;
      pages += 1;
    } while (pageToken !== "");
    assert.equal(pages, 3);
    assert.deepEqual(
      found.map(({ eventId }) => eventId),
      newestFirst,
      filter.case,
    );
  }
  const ranged = await client.listEntries({
    purpose: PURPOSE,
    filter: filters[0],
    startTime: timestampFromMs(1_700_000_002_000),
    endTime: timestampFromMs(1_700_000_004_000),
  });
  assert.deepEqual(
    ranged.entries.map(({ eventId }) => eventId),
    newestFirst.slice(3, 5),
  );
});

test("a search states its purpose, and a page token is good for its own list only", async () => {
  await append(...makeEvents(3, { actor: "operator-paged" }));
  const client = auditor();
  const filter = { case: "actor", value: "operator-paged" } as const;
  assert.deepEqual(await failureOf(client.listEntries({ purpose: " ", filter })), {
    reason: "PURPOSE_REQUIRED",
    fields: ["purpose"],
  });
  assert.equal(await reasonOf(client.listEntries({ filter })), "PURPOSE_REQUIRED");
  assert.equal(await reasonOf(client.getEntry({ entry: { case: "index", value: 0n } })), "PURPOSE_REQUIRED");
  assert.equal(await reasonOf(client.listEntries({ purpose: PURPOSE, filter, pageSize: -1 })), "PAGE_SIZE_INVALID");
  assert.equal(await reasonOf(client.listEntries({ purpose: PURPOSE })), "FIELD_INVALID");
  const { nextPageToken: pageToken } = await client.listEntries({ purpose: PURPOSE, filter, pageSize: 1 });
  const others = [
    { purpose: PURPOSE, filter: { case: "actor", value: "operator-1" } as const, pageToken },
    { purpose: PURPOSE, filter, pageToken: `${pageToken}x` },
    { purpose: PURPOSE, filter, pageToken, startTime: timestampFromMs(1) },
  ];
  for (const request of others) assert.equal(await reasonOf(client.listEntries(request)), "PAGE_TOKEN_INVALID");
  assert.equal((await client.listEntries({ purpose: PURPOSE, filter, pageSize: 100_000 })).entries.length, 3);
});

test("SU-7.3.1a reading the log is itself in the log, with reader and purpose", async () => {
  const [index = -1n] = await append(makeEvent({ subject: "account-watched" }));
  const client = auditor();
  await client.listEntries({ purpose: "case-17", filter: { case: "subject", value: "account-watched" } });
  await client.getEntry({ purpose: "case-18", entry: { case: "index", value: index } });
  const reads = async () => {
    const filter = { case: "subject", value: "account-watched" } as const;
    const { entries } = await client.listEntries({ purpose: "check", filter });
    return entries.filter(({ service }) => service === "audit");
  };
  await until(async () => new Set((await reads()).map(({ type }) => type)).size === 2, "both reads are sealed");
  for (const { index: at, type, actor, outcome } of await reads()) {
    assert.deepEqual([actor, outcome], ["operator-9", Outcome.SUCCESS]);
    const { details, preimage } = await client.getEntry(byIndex(at));
    if (type === "entry.read") assert.equal(details["index"], String(index));
    else assert.deepEqual([details["filter"], details["value"]], ["subject", "account-watched"]);
    assert.match(Buffer.from(preimage).toString("latin1"), /case-17|case-18|check/);
  }
});

test("an entry that does not exist is not found; one that was changed in the database is a fault, not an answer", async () => {
  const client = auditor();
  assert.equal(await reasonOf(client.getEntry(byIndex(9_000_000n))), "ENTRY_NOT_FOUND");
  const unknown = { case: "eventId", value: makeEvent().eventId } as const;
  assert.equal(await reasonOf(client.getEntry({ purpose: PURPOSE, entry: unknown })), "ENTRY_NOT_FOUND");

  await append(...makeEvents(1));
  const superuser = audit.log.superuser();
  const swap = (column: string, value: string) =>
    transaction(superuser, async (tx) => {
      await tx.query("SET LOCAL session_replication_role = replica");
      await tx.query(`UPDATE audit.entry SET ${column} = ${value} WHERE index = 2`);
    });
  const { rows } = await superuser.query<{ salt: Buffer }>("SELECT salt FROM audit.entry WHERE index = 2");
  // The tiles are read first: what was read before the change stays known.
  await client.getEntry(byIndex(2n));
  await swap("salt", `'\\x${"00".repeat(32)}'`);
  assert.equal(await reasonOf(client.getEntry(byIndex(2n))), "INTERNAL");
  await swap("salt", `'\\x${rows[0]?.salt.toString("hex")}'`);
  await client.getEntry(byIndex(2n));
});

test("the log of all these tests verifies from entry 0", async () => {
  const { note } = await audit.reader().getCheckpoint({});
  await until(async () => {
    const { findings } = await verifyTestLog(audit.log, [note]);
    return findings.length === 0;
  }, "the log is sound");
});

test("health says whether this replica leads", async () => {
  const ready = await fetch(`http://127.0.0.1:${audit.server.adminPort}/readyz`);
  const body = await ready.text();
  assert.match(body, /sequencer/);
});
