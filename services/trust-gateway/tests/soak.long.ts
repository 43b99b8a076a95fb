/**
 * Memory over a soak: the gateway as a process of its own with the sandbox's sources, Postgres and an audit log behind
 * a real socket, at half of the peak that it reached just before. Questions that a source has to answer, ones whose
 * words are at hand, mismatches, refusals, batches, waiters and watchers come mixed, while sources fail and heal.
 *
 * What is compared is what the process holds after a collection, its heap and the buffers beside it: resident memory
 * also counts what the allocator has not given back, which says nothing of a leak; it is printed.
 * FUJIE_SOAK_SECONDS sets how long (600). The mix is drawn from the seed, which is printed; FUJIE_SEED draws it again.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Client } from "@connectrpc/connect";
import { PolicyService } from "@fujie/api/fujie/trust/v1/policy";
import { type ClaimSchema, ClaimType, Outcome, VerificationService } from "@fujie/api/fujie/trust/v1/verification";
import { systemClock } from "@fujie/kit/clock";
import { systemTimers } from "@fujie/kit/timers";
import type { SettingsChange, SourceId } from "@fujie/sandbox";
import { NAMED_PEOPLE, organisationAt, personAt, type SyntheticPerson } from "@fujie/sandbox/people";
import { randomFrom } from "./ledger.ts";
import { LEGAL_BASIS, PURPOSE, reasonOf, startWorld, type World } from "./world.ts";

const seed = Number(process.env["FUJIE_SEED"] ?? randomInt(2 ** 31));
const SOAK_S = Math.min(Number(process.env["FUJIE_SOAK_SECONDS"] ?? 600), 1_200);
const PEAK_S = Math.max(5, SOAK_S / 20);
const SAMPLES = 60;
const LINES = 48;
const GROWTH_MAX = 1.05;
const CALL_MS = 5_000;
const TOKEN_MS = 60_000;
const BATCH = 20;
const WATCHERS = 4;
const SETTLE_MS = 120_000;

const SOURCES = ["population-base", "population-base-2", "legal-person-base", "partner"] as const;
const SOUND: SettingsChange = {
  fault: "none",
  latencyMs: 2,
  noRecord: false,
  quotaPerSecond: 1_000_000,
  identifierPerDay: 1_000_000,
};
const FAULTS: readonly SettingsChange[] = [
  { fault: "error" },
  { fault: "drop" },
  { fault: "hang" },
  { fault: "maintenance" },
  { latencyMs: 300 },
  { quotaPerSecond: 1 },
];

interface Soaked {
  readonly world: World;
  /** As applications do: one for a while. */
  readonly token: () => CallOptions;
  readonly verifications: Client<typeof VerificationService>;
  readonly draw: <Item>(items: readonly Item[]) => Item;
  /** How many ended how: an outcome's name or a refusal's reason. */
  readonly ends: Map<string, number>;
  /** What lately was pending. */
  readonly pending: string[];
}

function drawFrom(random: () => number): Soaked["draw"] {
  return (items) => {
    const item = items[Math.floor(random() * items.length)];
    assert.ok(item !== undefined);
    return item;
  };
}

type Claim = MessageInitShape<typeof ClaimSchema>;

function person({ citizenId, name: personName }: Pick<SyntheticPerson, "citizenId" | "name">): Claim {
  return { type: ClaimType.PERSON_TWO_ELEMENT, citizenId, personName };
}

/** Whom a source never answers for stays pending for ever. */
const cached = Array.from({ length: 64 }, (_, i) => personAt(i))
  .filter(({ outcome }) => outcome !== "outage")
  .map(person);
const fresh = Array.from({ length: 2_000 }, (_, i) => organisationAt(i))
  .filter(({ outcome }) => outcome !== "outage")
  .map(({ uscc, name }): Claim => ({ type: ClaimType.LEGAL_PERSON, uscc, organisationName: name }));
const mismatch = person(NAMED_PEOPLE.mismatch.person);
const malformed = person({ citizenId: "110105194912310021", name: "张三" });

const question = (claim: Claim) => ({
  requestId: randomUUID(),
  claim,
  purpose: PURPOSE,
  ground: { case: "legalBasis", value: LEGAL_BASIS } as const,
});

/** Of twenty: ten that a source is asked for, five at hand, two mismatches, one refused, one waiting, one batch. */
const MIX = [..."ffffffffffcccccmmrwb"];

function count({ ends }: Soaked, end: string): void {
  ends.set(end, (ends.get(end) ?? 0) + 1);
}

async function callOnce(soaked: Soaked): Promise<void> {
  const { draw } = soaked;
  const kind = draw(MIX);
  try {
    if (kind === "b") return await batch(soaked);
    if (kind === "w") return await waitForPending(soaked);
    const claims: Readonly<Record<string, readonly Claim[]>> = { c: cached, m: [mismatch], r: [malformed] };
    await verify(soaked, draw(claims[kind] ?? fresh));
  } catch (error) {
    count(soaked, await reasonOf(Promise.reject(error)));
  }
}

const calling = ({ token }: Soaked) => ({ ...token(), timeoutMs: CALL_MS });

async function verify(soaked: Soaked, claim: Claim): Promise<void> {
  const { verification } = await soaked.verifications.verify(question(claim), calling(soaked));
  count(soaked, `${Outcome[verification?.outcome ?? 0]}`);
  if (verification?.outcome !== Outcome.PENDING) return;
  soaked.pending.push(verification.verificationId);
  if (soaked.pending.length > LINES) soaked.pending.shift();
}

async function batch(soaked: Soaked): Promise<void> {
  async function* send() {
    for (let i = 0; i < BATCH; i += 1) yield { question: question(soaked.draw<Claim>(i % 2 === 0 ? fresh : cached)) };
  }
  for await (const { answer } of soaked.verifications.batchVerify(send(), calling(soaked))) {
    const end = answer.case === "verification" ? Outcome[answer.value.outcome] : answer.case;
    count(soaked, `batch ${end}`);
  }
}

async function waitForPending(soaked: Soaked): Promise<void> {
  const verificationId = soaked.pending.shift();
  if (verificationId === undefined) return verify(soaked, soaked.draw(fresh));
  const { verification } = await soaked.verifications.getVerification({ verificationId, waitMs: 500 }, calling(soaked));
  count(soaked, `waited ${Outcome[verification?.outcome ?? 0]}`);
}

/** As fast as it goes. Gives calls a second. */
async function loadFully(soaked: Soaked, seconds: number): Promise<number> {
  const startMs = performance.now();
  let calls = 0;
  const lines = Array.from({ length: LINES }, async () => {
    while (performance.now() - startMs < seconds * 1_000) {
      await callOnce(soaked);
      calls += 1;
    }
  });
  await Promise.all(lines);
  return (calls * 1_000) / (performance.now() - startMs);
}

/** At a pace; a call that is due waits for the one before it in its line. One that is late by more than a second is left. */
async function loadEvenly(soaked: Soaked, perSecond: number, seconds: number): Promise<number> {
  const startMs = performance.now();
  const everyMs = (LINES * 1_000) / perSecond;
  let calls = 0;
  const lines = Array.from({ length: LINES }, async (_, line) => {
    for (let dueMs = (everyMs * line) / LINES; dueMs < seconds * 1_000; dueMs += everyMs) {
      const lateMs = performance.now() - startMs - dueMs;
      if (lateMs > 1_000) continue;
      await delay(Math.max(0, -lateMs));
      await callOnce(soaked);
      calls += 1;
    }
  });
  await Promise.all(lines);
  return calls;
}

/** Follows the application's decisions, leaves after a while, and comes back where it was. */
async function watch(soaked: Soaked, signal: AbortSignal): Promise<number> {
  let resumeToken = "";
  let seen = 0;
  while (!signal.aborted) {
    const leave = AbortSignal.any([signal, AbortSignal.timeout(soaked.draw([500, 2_000, 8_000]))]);
    const options = { ...soaked.token(), signal: leave };
    try {
      for await (const next of soaked.verifications.watchVerifications({ resumeToken }, options)) {
        resumeToken = next.resumeToken;
        if (next.verification !== undefined) seen += 1;
      }
    } catch (error) {
      if (leave.aborted) continue;
      count(soaked, `watch ${await reasonOf(Promise.reject(error))}`);
      await delay(500);
    }
  }
  return seen;
}

/** One source at a time falls ill and recovers; for a while, all are well. */
async function spoil({ world, draw }: Soaked, signal: AbortSignal): Promise<number> {
  let times = 0;
  while (!signal.aborted) {
    const source: SourceId = draw(SOURCES);
    await world.control.control(source, { ...SOUND, ...draw(FAULTS) });
    times += 1;
    await delay(1_000, undefined, { signal }).catch(() => {});
    await world.control.control(source, SOUND);
    await delay(2_000, undefined, { signal }).catch(() => {});
  }
  return times;
}

function tokensOf(world: World): () => CallOptions {
  let token = world.as();
  let mintedMs = performance.now();
  return () => {
    if (performance.now() - mintedMs > TOKEN_MS) {
      token = world.as();
      mintedMs = performance.now();
    }
    return token;
  };
}

interface Held {
  readonly held: number;
  readonly rss: number;
}

async function startProcess(world: World) {
  const program = join(import.meta.dirname, "soak-process.ts");
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "--expose-gc", program], {
    env: {
      PATH: process.env["PATH"] ?? "",
      ...world.environment,
      SOAK_JWK: JSON.stringify(world.jwk),
      FUJIE_TRACE_RATIO: "0.01",
      FUJIE_LOG_LEVEL: "error",
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const answers: ((line: string) => void)[] = [];
  const { grpc } = await new Promise<{ grpc: number }>((resolve, reject) => {
    void exited.then(() => reject(new Error("the process ended before it served")));
    createInterface({ input: child.stdout }).on("line", (line) => {
      // It logs there, too.
      const said: { message?: string; grpc: number; held?: number } = JSON.parse(line);
      if (said.message === "serving") resolve(said);
      else if (said.held !== undefined) answers.shift()?.(line);
    });
  });
  return {
    grpc,
    held: async (): Promise<Held> => {
      const answer = Promise.withResolvers<string>();
      answers.push(answer.resolve);
      child.stdin.write("\n");
      return JSON.parse(await answer.promise);
    },
    kill: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await exited;
    },
  };
}

async function countRows({ admin }: World, table: string, where = "true"): Promise<number> {
  const { rows } = await admin.query<{ n: number }>({
    text: `SELECT count(*)::integer AS n FROM ${table} WHERE ${where}`,
    values: [],
  });
  return rows[0]?.n ?? Number.NaN;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

test(`memory is flat over ${SOAK_S} s at half of peak: the last third holds within 5 % of the middle third (seed ${seed})`, async (t) => {
  const time = { clock: systemClock, timers: systemTimers, advance: () => {}, sleeping: () => 0 };
  await using world = await startWorld({ FUJIE_IDENTIFIER_PER_DAY_MAX: "1000000" }, time);
  world.latency.take = (ms) => delay(ms);
  const policy = (claimType: ClaimType, kind: string, reuseSeconds: number) => ({
    ...{ policyId: `soak-${claimType}`, claimType, startTime: timestampFromMs(1_000), reuseSeconds, needed: 1 },
    voices: [kind, "partner"].map((value) => ({ source: { case: "kind", value } as const, rank: 1 })),
  });
  await world.putPolicy({
    claimPolicies: [
      policy(ClaimType.PERSON_TWO_ELEMENT, "population-base", 3_600),
      policy(ClaimType.LEGAL_PERSON, "legal-person-base", 0),
    ],
  });
  await world.stop();
  const gateway = await startProcess(world);
  t.after(() => gateway.kill());
  const peer = world.registryAt(gateway.grpc);
  t.after(() => peer[Symbol.dispose]());
  const { applications, sources, claimPolicies = [] } = world.policy;
  const renew = () =>
    peer(PolicyService).putPolicy({
      version: 100n,
      applications: [...applications],
      sources: [...sources],
      claimPolicies: [...claimPolicies],
    });
  await renew();
  const renewing = setInterval(() => void renew().catch(() => {}), 4_000);
  t.after(() => clearInterval(renewing));
  for (const source of SOURCES) await world.control.control(source, SOUND);

  const draw = drawFrom(randomFrom(seed));
  const soaked: Soaked = {
    ...{ world, token: tokensOf(world), verifications: peer(VerificationService) },
    ...{ draw, ends: new Map(), pending: [] },
  };
  // The first time is to warm up.
  await loadFully(soaked, PEAK_S);
  const peak = await loadFully(soaked, PEAK_S);
  const over = new AbortController();
  t.after(() => over.abort());
  const watching = Array.from({ length: WATCHERS }, () => watch(soaked, over.signal));
  const spoiling = spoil(soaked, over.signal);
  const samples: (Held & { readonly waiting: number })[] = [];
  let calls = 0;
  while (samples.length < SAMPLES) {
    calls += await loadEvenly(soaked, peak / 2, SOAK_S / SAMPLES);
    samples.push({ ...(await gateway.held()), waiting: await countRows(world, "kit.outbox") });
  }
  over.abort();
  const faults = await spoiling;
  const watched = (await Promise.all(watching)).reduce((sum, seen) => sum + seen, 0);

  const third = SAMPLES / 3;
  const thirds = (of: (sample: (typeof samples)[number]) => number) =>
    [0, 1, 2].map((at) => median(samples.slice(at * third, (at + 1) * third).map(of)));
  const [, middle = Number.NaN, last = Number.NaN] = thirds(({ held }) => held);
  t.diagnostic(
    `${calls} calls at ${(calls / SOAK_S).toFixed(0)}/s, peak ${peak.toFixed(0)}/s, ${faults} faults, ${watched} watched`,
  );
  t.diagnostic(`ends ${JSON.stringify(Object.fromEntries([...soaked.ends].toSorted()))}`);
  t.diagnostic(
    `held by thirds ${thirds(({ held }) => held)
      .map(mebibytes)
      .join(", ")} MiB`,
  );
  t.diagnostic(
    `resident by thirds ${thirds(({ rss }) => rss)
      .map(mebibytes)
      .join(", ")} MiB`,
  );
  t.diagnostic(`outbox by thirds ${thirds(({ waiting }) => waiting).join(", ")} rows`);

  // Whatever was under way comes to its end, and to the audit log.
  const due = "state = 'PENDING' AND pending_reason = 'SOURCE_AWAY'";
  const deadline = performance.now() + SETTLE_MS;
  const left = async () => [await countRows(world, "kit.outbox"), await countRows(world, "trust.verification", due)];
  while ((await left()).some((rows) => rows > 0) && performance.now() < deadline) await delay(200);
  assert.deepEqual(await left(), [0, 0], "the outbox is drained and nothing is pending");
  const decided = await countRows(world, "trust.verification", "state <> 'PENDING'");
  const told = new Set(
    world.events.filter(({ type }) => type === "verification.decided").map(({ eventId }) => eventId),
  );
  assert.equal(told.size, decided, "each decision came to the audit log once");
  assert.ok(last <= middle * GROWTH_MAX, `${mebibytes(middle)} MiB, then ${mebibytes(last)} MiB`);
});
