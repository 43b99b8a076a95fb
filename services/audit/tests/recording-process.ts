import { createInterface } from "node:readline";
import { IngestService } from "@fujie/api/fujie/audit/v1/ingest";
import { connectPeer } from "@fujie/kit/clients";
import { systemClock } from "@fujie/kit/clock";
import { openDatabase, statement, transaction } from "@fujie/kit/db";
import { openFileKeyRing } from "@fujie/kit/keys";
import { startRelay } from "@fujie/kit/outbox";
import { auditDestination, recordEvent } from "@fujie/kit/record";
import { loadIdentity } from "@fujie/kit/tls";
import { silent } from "./fixture.ts";

// A service in a process of its own, to be killed: for each line it changes its state and records that in the same
// transaction, and its relay brings the event to the log.
const { DATABASE_URL = "", KEYS_DIR = "", AUDIT = "", CERT = "", KEY = "", CA = "" } = process.env;
const db = openDatabase({ url: DATABASE_URL, poolMax: 4, service: "registry" });
const ring = openFileKeyRing(KEYS_DIR, { service: "registry" });
const identity = loadIdentity({ certFile: CERT, keyFile: KEY, caFile: CA }, { watchIntervalMs: 0 });
const ingest = connectPeer({ target: `dns:///127.0.0.1:${AUDIT}`, service: "audit", identity })(IngestService);
const change = statement("test.change", "INSERT INTO changed (name) VALUES ($1)");

startRelay({
  db,
  destinations: { audit: auditDestination(ingest, ring) },
  batchMax: 16,
  deliverTimeoutMs: 5_000,
  pollMs: 20,
  clock: systemClock,
  log: silent,
});
process.stdout.write("started\n");
for await (const name of createInterface({ input: process.stdin })) {
  await transaction(db, async (tx) => {
    await tx.query(change(name));
    const event = { type: "registration.submitted", outcome: "SUCCESS", subject: name } as const;
    await recordEvent({ clock: systemClock, ring }, tx, { service: "registry" }, event);
  });
}
