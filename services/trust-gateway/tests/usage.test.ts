import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { UsageService } from "@fujie/api/fujie/trust/v1/usage";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { NAMED_PEOPLE } from "@fujie/sandbox/people";
import { applicationUsage, assertReconciled, booksOf, runFaults, settleLedger, sourceUsage } from "./ledger.ts";
import { APPLICATION, LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

let world: World;
let priceFen: Record<string, number>;
before(async () => {
  world = await startWorld({
    FUJIE_IDENTIFIER_PER_DAY_MAX: "100000",
    FUJIE_PENDING_RETRY_MAX_MS: "2000",
    // What a retry would clear up is left to the ledger.
    FUJIE_SOURCE_ATTEMPTS_MAX: "1",
  });
  const { sources } = JSON.parse(readFileSync(world.sandbox.sourcesFile, "utf8"));
  priceFen = Object.fromEntries(
    sources.map(({ id, priceFen: price }: { id: string; priceFen?: number }) => [id, price ?? 0]),
  );
});
after(() => world[Symbol.asyncDispose]());
beforeEach(async () => {
  await world.putPolicy({ claimPolicies: [] });
});

test("SZ-21 the ledger says what the sources say they billed, whatever failed, was repeated or left unfinished", async () => {
  await runFaults(world, { seed: 20_261_121, rounds: 4, perRound: 12 });
  await assertReconciled(world, priceFen);
  // Once more from the days alone: everything was counted, and nothing twice.
  await world.until(async () => (await uncounted()) === 0, "every call is added to its day");
  await assertReconciled(world, priceFen);
});

async function uncounted(): Promise<number | undefined> {
  const { rows } = await world.db.query<{ n: number }>(
    "SELECT count(*)::integer AS n FROM trust.source_check WHERE NOT counted",
  );
  return rows[0]?.n;
}

test("NI-29 a hundred identical requests at once make one upstream call, one charge, and a hundred audited answers", async () => {
  await world.until(async () => world.events.length > 0, "earlier events are out");
  await settleLedger(world);
  // The one call waits for all hundred, however busy the machine is.
  await world.restart({ FUJIE_SOURCE_TIMEOUT_MS: "5000", FUJIE_SOURCE_ATTEMPTS_MAX: "5" });
  await world.putPolicy();
  const before = await booksOf(world, "population-base");
  const booked = await sourceUsage(world, "population-base");
  const decidedBefore = decided();
  const { promise, resolve } = Promise.withResolvers<void>();
  world.latency.hold = promise;
  const { citizenId, name } = NAMED_PEOPLE.match.person;
  const claim = { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName: name };
  const ground = { case: "legalBasis", value: LEGAL_BASIS } as const;
  const answers = Array.from({ length: 100 }, () =>
    world.verifications.verify({ requestId: randomUUID(), claim, purpose: PURPOSE, ground }, world.as()),
  );
  const pending = async () => {
    const { rows } = await world.db.query<{ n: number }>(
      "SELECT count(*)::integer AS n FROM trust.verification WHERE state = 'PENDING' AND pending_reason = 'SOURCE_AWAY'",
    );
    return rows[0]?.n === 100;
  };
  await world.until(pending, "all hundred are accepted");
  resolve();
  const verified = await Promise.all(answers);
  assert.equal(new Set(verified.map(({ verification }) => verification?.verificationId)).size, 100);
  const now = await booksOf(world, "population-base");
  assert.deepEqual([now.received - before.received, now.billed - before.billed], [1, 1]);
  const { answered, shared, unknown, costFen } = await sourceUsage(world, "population-base");
  assert.deepEqual([answered - booked.answered, shared - booked.shared, unknown], [1, 99, 0]);
  assert.equal(costFen - booked.costFen, priceFen["population-base"]);
  await world.until(() => decided() - decidedBefore === 100, "each is in the audit log");
});

const decided = () => world.events.filter(({ type }) => type === "verification.decided").length;

test("usage is told by the day, to the application itself only, and for days that exist", async () => {
  const usage = world.client(UsageService);
  const request = { applicationId: APPLICATION, startDate: "2026-02-01", endDate: "2026-02-02" };
  const refusal = (change: object) =>
    reasonOf(usage.getUsage({ ...request, ...change }, world.as(APPLICATION, "application.read")));
  assert.equal(await refusal({}), "accepted");
  assert.equal(await refusal({ endDate: "2026-02-01" }), "DATE_RANGE_INVALID");
  assert.equal(await refusal({ applicationId: "application-2" }), "OBJECT_FORBIDDEN");
  assert.equal(await refusal({ pageToken: "forged.token" }), "PAGE_TOKEN_INVALID");
  assert.deepEqual((await applicationUsage(world, "nobody", "population-base")).answered, 0);
});

test("the end of a call is written once: the database refuses another", async () => {
  const change = (sql: string) => world.admin.query(sql);
  const ended = "WHERE call_state = 'ANSWERED'";
  await assert.rejects(change(`UPDATE trust.source_check SET call_state = 'NOT_BILLED' ${ended}`), /written once/);
  await assert.rejects(change(`UPDATE trust.source_check SET counted = false ${ended} AND counted`), /written once/);
});

test("SZ-21 the age of the oldest call of unknown outcome is told, until what became of it is known", async () => {
  const told = async () => {
    const text = await (await fetch(`http://127.0.0.1:${world.gateway.adminPort}/metrics`)).text();
    return Number(/^fujie_usage_unknown_oldest_seconds(?:\{.*\})? (\d+)/m.exec(text)?.[1]);
  };
  await settleLedger(world);
  await world.until(async () => (await told()) === 0, "nothing is unknown");
  const askedAtMs = world.time.clock.nowMs() - 90_000_000;
  // As a replica leaves it that was killed a day ago, and a source that will not be asked before the next one.
  const { rowCount } = await world.admin.query({
    text: `INSERT INTO trust.source_check (verification_id, source_id, biz_seq, nonce, asked_at_ms, call_state, look_at_ms)
      SELECT verification_id, 'carrier', $1, decode(repeat('00', 32), 'hex'), $2::bigint, 'UNKNOWN', $3::bigint
      FROM trust.verification WHERE state <> 'PENDING' LIMIT 1`,
    values: ["ab".repeat(16), askedAtMs, askedAtMs + 180_000_000],
  });
  assert.equal(rowCount, 1);
  await world.until(async () => (await told()) >= 90_000, "its age in seconds");
  await world.admin.query("UPDATE trust.source_check SET look_at_ms = 0 WHERE call_state = 'UNKNOWN'");
  await world.until(async () => (await told()) === 0, "the source has told that it never arrived");
});
