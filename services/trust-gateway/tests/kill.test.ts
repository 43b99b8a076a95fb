import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { fromBinary } from "@bufbuild/protobuf";
import { EvidenceService, VerificationDecidedSchema } from "@fujie/api/fujie/trust/v1/evidence";
import { ClaimType, Outcome } from "@fujie/api/fujie/trust/v1/verification";
import type { Peer } from "@fujie/kit/clients";
import { NAMED_PEOPLE } from "@fujie/sandbox/people";
import { sourceUsage } from "./ledger.ts";
import { reasonOf, startWorld, type World } from "./world.ts";

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world[Symbol.asyncDispose]());

const { citizenId, name } = NAMED_PEOPLE.match.person;
const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };

test("killed between the source's answer and the commit, a gateway's successor completes it without paying twice", async () => {
  const reference = randomUUID();
  const [grpc, http, admin] = await Promise.all([freePort(), freePort(), freePort()]);
  await world.stop();
  const child = spawn(process.execPath, [fileURLToPath(new URL("../src/main.ts", import.meta.url))], {
    env: {
      PATH: process.env["PATH"],
      ...world.environment,
      FUJIE_SOURCE_TIMEOUT_MS: "5000",
      FUJIE_GRPC_ADDRESS: `127.0.0.1:${grpc}`,
      FUJIE_HTTP_ADDRESS: `127.0.0.1:${http}`,
      FUJIE_ADMIN_ADDRESS: `127.0.0.1:${admin}`,
      FUJIE_LOG_LEVEL: "error",
    },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const peer = world.registryAt(grpc);
  const lock = await world.admin.connect();
  try {
    await eventually(() => isListening(peer), "the process serves");
    // What is decided from here on waits before its commit.
    await lock.command("BEGIN");
    await lock.query("LOCK TABLE trust.evidence IN ACCESS EXCLUSIVE MODE");
    const asked = reasonOf(peer(EvidenceService).collectEvidence({ requestId: randomUUID(), reference, claim }));
    await world.until(
      async () => (await world.control.counters("population-base")).billed === 1,
      "the source answered",
    );
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.notEqual(await asked, "accepted");
    await lock.command("ROLLBACK");
  } finally {
    child.kill("SIGKILL");
    lock.release();
    peer[Symbol.dispose]();
  }
  assert.deepEqual(await fedFor(reference), []);
  await world.restart();
  world.time.advance(60_000);
  await world.putPolicy();
  await world.until(async () => (await fedFor(reference)).length > 0, "the successor decides");
  assert.deepEqual(await fedFor(reference), [Outcome.VERIFIED]);
  assert.equal(await billed(), 1);
  const { answered, unknown } = await sourceUsage(world, "population-base");
  assert.deepEqual([answered, unknown], [1, 0], "SZ-21 the ledger says so too");
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

async function isListening(peer: Peer): Promise<boolean> {
  return (await reasonOf(peer(EvidenceService).collectEvidence({}))) !== "DEPENDENCY_UNAVAILABLE";
}

/** Another process has its own clock: this waits for it, while the test's time stands still. */
async function eventually(holds: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await delay(20);
  }
}

const billed = async () => (await world.control.counters("population-base")).billed;

/** The outcomes that the feed has carried for the reference. */
async function fedFor(reference: string): Promise<Outcome[]> {
  const { rows } = await world.db.query<{ value: Buffer }>(
    "SELECT value FROM kit.feed_event WHERE topic = 'trust.verifications'",
  );
  const events = rows.map(({ value }) => fromBinary(VerificationDecidedSchema, value));
  return events.filter((event) => event.reference === reference).map(({ outcome }) => outcome);
}
