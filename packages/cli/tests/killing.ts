/**
 * Kills services at random points while people register, and asks afterwards whether anything that was acknowledged is
 * missing, happened twice, or was left half done. `FUJIE_SEED` repeats a run's choices (not its timing).
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { type EntrySummary, LogService } from "@fujie/api/fujie/audit/v1/log";
import { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { AccountService } from "@fujie/api/fujie/registry/v1/accounts";
import { CounterService, Decision, DocumentType } from "@fujie/api/fujie/registry/v1/counter";
import { RegistrationService, RegistrationState } from "@fujie/api/fujie/registry/v1/registrations";
import { isReason, reasons } from "@fujie/kit/errors";
import { personAt, type SyntheticPerson } from "@fujie/sandbox/people";
import { callService, newTrace } from "../src/journey/callers.ts";
import { castPlayers } from "../src/journey/cast.ts";
import { proofOf } from "../src/journey/certificates.ts";
import { playCeremony } from "../src/journey/chapters/ceremony.ts";
import { counterToken } from "../src/journey/chapters/counter.ts";
import { portalToken } from "../src/journey/chapters/registration.ts";
import { reasonOf } from "../src/journey/expect.ts";
import { type Stage, signInOperator, signInPerson } from "../src/journey/stage.ts";
import { SignInError } from "../src/sign-in/sign-in.ts";
import { type Platform, SERVICES } from "../src/up/index.ts";
import { entryVerifier } from "../src/verify/entry.ts";
import { startTestPlatform, temporaryHome } from "./test-platform.ts";

/** How much happens: people who register at once, and services that are killed meanwhile. */
export interface Trial {
  readonly people: number;
  readonly kills: number;
  /** Between two kills, on average. A service needs seconds to start: shorter, and nothing is ever up. */
  readonly killEveryMs: number;
}

const PATIENCE_MS = 120_000;

interface Diagnostics {
  diagnostic(message: string): void;
}

let platform: Platform;
let stage: Stage;

/** Runs the trial on a platform of its own; throws an AssertionError for anything lost, doubled or half done. */
export async function surviveKills(t: Diagnostics, trial: Trial): Promise<void> {
  using home = temporaryHome();
  await using started = await startTestPlatform(home.path);
  platform = started;
  stage = await openStage();
  const random = seededRandom(t);
  const acknowledged = new Acknowledged();
  const stopKilling = new AbortController();
  const killing = killAtRandom(random, trial, stopKilling.signal);
  const people = Array.from({ length: trial.people }, (_, index) => personOf(index));
  const accounts = await Promise.all(people.map((person, index) => registerStubbornly(person, index, acknowledged)));
  stopKilling.abort();
  t.diagnostic(`${await killing} kills`);

  const auditor = await stubbornly(() => signInOperator(stage, stage.staff.auditAdministrator, ["audit.read"]));
  const log = callService(LogService, platform.httpUrl("audit"), { token: auditor, trace: newTrace() });
  for (const [index, account] of accounts.entries()) {
    const { accessToken } = await stubbornly(() => signInPerson(stage, account));
    const call = { token: accessToken, trace: newTrace() };
    const own = await stubbornly(() =>
      callService(AccountService, platform.httpUrl("registry"), call).getOwnAccount({}),
    );
    assert.equal(own.level, 2, "the account is real-name");
    const entries = await entriesAbout(log, account.accountId, acknowledged.of(account.accountId));
    assertOnce(entries, acknowledged.of(account.accountId));
    await assertNothingOpen(people[index]);
  }
  await assertProven(log, accounts[0]?.accountId ?? "");
}

async function openStage(): Promise<Stage> {
  const narrator = { chapter() {}, asks() {}, answers() {}, proof() {}, refused() {} };
  const open = { platform, narrator, players: castPlayers(0), trace: newTrace(), traces: [] };
  return { ...open, staff: await playCeremony(open) };
}

/** What the platform said yes to: event types by account. */
class Acknowledged {
  readonly #types = new Map<string, string[]>();
  note(accountId: string, type: string): void {
    this.#types.set(accountId, [...this.of(accountId), type]);
  }
  of(accountId: string): readonly string[] {
    return this.#types.get(accountId) ?? [];
  }
}

async function registerStubbornly(person: SyntheticPerson, index: number, acknowledged: Acknowledged) {
  const url = platform.httpUrl("registry");
  const portal = await stubbornly(() => portalToken(stage));
  const registrations = callService(RegistrationService, url, { token: portal, trace: newTrace() });
  const terms = await stubbornly(() => registrations.getAgreement({}));
  const loginName = `stubborn${index}`;
  const request = {
    requestId: crypto.randomUUID(),
    citizenId: person.citizenId,
    name: person.name,
    loginName,
    acceptance: {
      agreementVersion: terms.version,
      agreementSha256: terms.sha256,
      noticeVersion: terms.noticeVersion,
    },
  };
  const { registrationId, accountId } = await stubbornly(() => registrations.registerPerson(request));
  acknowledged.note(accountId, "registration.submitted");
  await untilVerified(registrationId, portal);

  const counter = await stubbornly(() => counterToken(stage));
  const enrolmentCode = await confirmStubbornly(counter, registrationId);
  acknowledged.note(accountId, "registration.confirmed");
  const password = `stubborn-${crypto.randomUUID()}`;
  const credentials = callService(CredentialService, platform.httpUrl("auth"), { trace: newTrace() });
  await stubbornly(() => credentials.bindPassword({ enrolmentCode, password }));
  acknowledged.note(accountId, "password.bound");
  return { accountId, loginName, password };
}

/** Tokens live five minutes and services come and go: each question is asked afresh until the answer is there. */
async function untilVerified(registrationId: string, token: string): Promise<void> {
  const registrations = callService(RegistrationService, platform.httpUrl("registry"), { token, trace: newTrace() });
  const endMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const { state } = await stubbornly(() => registrations.getRegistration({ registrationId, waitMs: 5_000 }));
    if (state === RegistrationState.VERIFIED) return;
    assert.equal(state, RegistrationState.SUBMITTED);
    assert.ok(performance.now() < endMs, "the registration completes by itself");
  }
}

async function confirmStubbornly(token: string, registrationId: string): Promise<string> {
  const counter = callService(CounterService, platform.httpUrl("registry"), { token, trace: newTrace() });
  const content = new Uint8Array(Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), Buffer.alloc(64)]));
  const document = {
    requestId: crypto.randomUUID(),
    registrationId,
    type: DocumentType.PERSON_WITH_DOCUMENT,
    mediaType: "image/png",
    content,
    sha256: new Uint8Array(createHash("sha256").update(content).digest()),
  };
  const { documentId } = await stubbornly(() => counter.archiveDocument(document));
  const decideTimeMs = Date.now();
  const lines = ["fujie-counter-decision-v1", registrationId, "CONFIRM", documentId, decideTimeMs];
  const decision = {
    requestId: crypto.randomUUID(),
    registrationId,
    decision: Decision.CONFIRM,
    documentIds: [documentId],
    decideTime: timestampFromMs(decideTimeMs),
    proof: proofOf(stage.staff.counterOperator, Buffer.from(`${lines.join("\n")}\n`)),
  };
  const decided = await stubbornly(() => counter.decideRegistration(decision));
  if (decided.enrolmentCode !== "") return decided.enrolmentCode;
  // The first answer was lost with the process, and a secret is not told twice: the counter asks for a fresh one.
  const issue = { requestId: crypto.randomUUID(), registrationId };
  for (;;) {
    const issued = await stubbornly(() => counter.issueEnrolment(issue));
    if (issued.enrolmentCode !== "") return issued.enrolmentCode;
    issue.requestId = crypto.randomUUID();
  }
}

/** Repeats a call, with the same contents, while the failure is one that a caller may repeat after. */
async function stubbornly<T>(call: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!mayRepeat(error) || performance.now() > endMs) throw error;
      await sleep(150);
    }
  }
}

function mayRepeat(error: unknown): boolean {
  if (error instanceof SignInError) return isReason(error.reason) ? reasons[error.reason].retryable : true;
  if (!(error instanceof ConnectError)) return true;
  const reason = reasonOf(error);
  // Without a reason of ours the answer never came: the connection broke.
  return isReason(reason) ? reasons[reason].retryable : true;
}

async function killAtRandom(random: () => number, trial: Trial, signal: AbortSignal): Promise<number> {
  let kills = 0;
  while (!signal.aborted && kills < trial.kills) {
    await sleep(trial.killEveryMs * (0.5 + random()), undefined, { signal }).catch(() => {});
    const service = SERVICES[Math.floor(random() * SERVICES.length)] ?? "registry";
    const pid = platform.programs.get(service)?.pid();
    if (signal.aborted || pid === undefined) continue;
    process.kill(pid, "SIGKILL");
    kills += 1;
  }
  return kills;
}

/** The entries about an account, once all that was acknowledged has drained into the log. */
async function entriesAbout(
  log: ReturnType<typeof callService<typeof LogService>>,
  accountId: string,
  expected: readonly string[],
): Promise<readonly EntrySummary[]> {
  const endMs = performance.now() + 30_000;
  for (;;) {
    const filter = { case: "subject", value: accountId } as const;
    const { entries } = await stubbornly(() => log.listEntries({ purpose: "kill.test", filter, pageSize: 200 }));
    const found = new Set(entries.map((entry) => entry.type));
    if (expected.every((type) => found.has(type)) || performance.now() > endMs) return entries;
    await sleep(100);
  }
}

function assertOnce(entries: readonly EntrySummary[], expected: readonly string[]): void {
  for (const type of expected) {
    const found = entries.filter((entry) => entry.type === type && entry.reason === "");
    assert.equal(found.length, 1, `${type} is in the log once, not ${found.length} times`);
  }
  assert.equal(new Set(entries.map((entry) => entry.eventId)).size, entries.length, "no event is there twice");
}

async function assertNothingOpen(person: SyntheticPerson | undefined): Promise<void> {
  assert.ok(person);
  const token = await stubbornly(() => counterToken(stage));
  const counter = callService(CounterService, platform.httpUrl("registry"), { token, trace: newTrace() });
  const { registrations } = await stubbornly(() => counter.findRegistrations({ citizenId: person.citizenId }));
  assert.equal(registrations.length, 0, "no registration of the person is left open");
}

async function assertProven(log: ReturnType<typeof callService<typeof LogService>>, accountId: string): Promise<void> {
  const verify = entryVerifier(platform);
  for (const entry of await entriesAbout(log, accountId, ["registration.confirmed"])) {
    const at = { case: "index", value: entry.index } as const;
    const { preimage, salt, proofBundle } = await stubbornly(() => log.getEntry({ purpose: "kill.test", entry: at }));
    const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
    const verdict = verify({ preimage: base64(preimage), salt: base64(salt), proofBundle });
    assert.equal(verdict.ok, true);
  }
}

/** People of the far end of the default population, who represent no organisation of the journey. */
function personOf(index: number): SyntheticPerson {
  const matches = Array.from({ length: 200 }, (_, offset) => personAt(5_000 + offset)).filter(
    (person) => person.outcome === "match",
  );
  const person = matches[index];
  assert.ok(person);
  return person;
}

/** mulberry32: small, and the same everywhere. */
function seededRandom(t: Diagnostics): () => number {
  let state = Number(process.env["FUJIE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`seed ${state}`);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
