/**
 * Kills services at random points while people go through the whole first journey, and asks afterwards whether anything
 * that was acknowledged is missing, happened twice, or was left half done:
 *
 *   three people register ─▶ organisation ─▶ administrator ─▶ clerk ─▶ consent, verified once ─▶ the clerk leaves, and
 *   registers again
 *
 * Who gets no answer asks again with the same contents, as any careful client would. `FUJIE_SEED` repeats a run's
 * choices, not its timing.
 */
import assert from "node:assert/strict";
import { AccountService } from "@fujie/api/fujie/registry/v1/accounts";
import { CounterService } from "@fujie/api/fujie/registry/v1/counter";
import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import { sandboxClient } from "@fujie/sandbox";
import type { SyntheticPerson } from "@fujie/sandbox/people";
import { callService, newTrace } from "../../src/journey/callers.ts";
import { castPlayers, type Players } from "../../src/journey/cast.ts";
import { playCeremony } from "../../src/journey/chapters/ceremony.ts";
import { counterToken } from "../../src/journey/chapters/counter.ts";
import type { Account, Stage } from "../../src/journey/stage.ts";
import type { Tokens } from "../../src/sign-in/sign-in.ts";
import { type Platform, SERVICES } from "../../src/up/index.ts";
import { startTestPlatform, temporaryHome } from "../test-platform.ts";
import { type KillPlan, seededRandom, startKilling } from "./killer.ts";
import { assertGone, cancel } from "./leaving.ts";
import { countEntries, Ledger } from "./ledger.ts";
import { nameSomebody, registerOrganisation, rolesIn } from "./organisation.ts";
import { becomeRealName, signIn } from "./person.ts";
import { stubbornly, untilAnswered } from "./stubborn.ts";
import { awaitPolicy, verifyWithConsent } from "./verification.ts";

export interface Trial extends KillPlan {
  /** Organisations, each with three people of its own, all at once. */
  readonly journeys: number;
}

interface Diagnostics {
  diagnostic(message: string): void;
}

/** Runs the trial on a platform of its own; throws an AssertionError for anything lost, doubled or half done. */
export async function surviveKills(t: Diagnostics, trial: Trial): Promise<void> {
  using home = temporaryHome();
  // The ledger reads the whole log by one person.
  const settings = { audit: { FUJIE_READ_ENTRIES_PER_HOUR: "10000000" } };
  await using platform = await startTestPlatform(home.path, { settings });
  const stage = await openStage(platform);
  await awaitPolicy(stage, stage.players.clerk);
  const seed = Number(process.env["FUJIE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`seed ${seed}`);

  const ledger = new Ledger();
  const journeys: Journey[] = [];
  const killing = startKilling(platform, seededRandom(seed), trial);
  try {
    // On a fast machine the journeys may be over before every service was killed: then others follow.
    while (new Set(killing.killed).size < SERVICES.length) {
      const casts = Array.from({ length: trial.journeys }, (_, index) => castPlayers(journeys.length + index));
      const names = casts.map((_, index) => String(journeys.length + index));
      const played = casts.map((players, index) => playThrough({ ...stage, players }, ledger, names[index] ?? ""));
      journeys.push(...(await Promise.all(played)));
    }
  } finally {
    await killing.stop();
  }
  t.diagnostic(`killed ${killing.killed.join(", ")} in ${journeys.length} journeys`);

  await untilAllAreUp(platform);
  for (const journey of journeys) await assertWhole(stage, ledger, journey);
  await assertNothingElse(stage, journeys.length);
  t.diagnostic(`${await ledger.assertKept(stage)} acknowledged steps, each in the log once and proven`);
}

async function openStage(platform: Platform): Promise<Stage> {
  const narrator = { chapter() {}, asks() {}, answers() {}, proof() {}, refused() {} };
  const open = { platform, narrator, players: castPlayers(0), trace: newTrace(), traces: [] };
  return { ...open, staff: await playCeremony(open) };
}

/** What came of one organisation and its three people. */
interface Journey {
  readonly players: Players;
  readonly organisationId: string;
  readonly representative: Account;
  readonly administrator: Account;
  readonly clerk: Account;
  /** The clerk's, from before he left. */
  readonly held: Tokens;
  readonly returned: Account;
}

async function playThrough(stage: Stage, ledger: Ledger, name: string): Promise<Journey> {
  const { players } = stage;
  const [representative, administrator, clerk] = await Promise.all([
    becomeRealName(stage, ledger, players.legalRepresentative, `representative${name}`),
    becomeRealName(stage, ledger, players.administrator, `administrator${name}`),
    becomeRealName(stage, ledger, players.clerk, `clerk${name}`),
  ]);
  const organisationId = await registerOrganisation(stage, ledger, players.organisation, representative);
  await nameSomebody(stage, ledger, organisationId, representative, administrator, Role.ADMINISTRATOR);
  await nameSomebody(stage, ledger, organisationId, administrator, clerk, Role.CLERK);
  const held = await signIn(stage, ledger, clerk, organisationId);
  await verifyWithConsent(stage, ledger, clerk, players.clerk);
  assert.deepEqual(
    await rolesIn(stage, ledger, organisationId, representative),
    [
      `${representative.accountId} LEGAL_REPRESENTATIVE`,
      `${administrator.accountId} ADMINISTRATOR`,
      `${clerk.accountId} CLERK`,
    ].toSorted(),
  );
  await cancel(stage, ledger, clerk);
  const returned = await becomeRealName(stage, ledger, players.clerk, `returned${name}`);
  return { players, organisationId, representative, administrator, clerk, held, returned };
}

async function untilAllAreUp(platform: Platform): Promise<void> {
  for (const service of SERVICES) {
    const ask = () =>
      fetch(`${platform.adminUrl(service)}/readyz`).then(async (answer) => [answer.status, await answer.text()]);
    await untilAnswered(`${service} is ready`, ask, ([status]) => status === 200);
  }
}

async function assertWhole(stage: Stage, ledger: Ledger, journey: Journey): Promise<void> {
  const { players, organisationId, representative, administrator, clerk, held, returned } = journey;
  await assertGone(stage, clerk, held);
  assert.notEqual(returned.accountId, clerk.accountId, "registering again gives a new identity");
  const own = (account: Account) => ownAccount(stage, ledger, account);
  assert.deepEqual(await own(representative), [3, `${organisationId} LEGAL_REPRESENTATIVE`]);
  assert.deepEqual(await own(administrator), [2, `${organisationId} ADMINISTRATOR`]);
  assert.deepEqual(await own(returned), [2]);
  assert.deepEqual(
    await rolesIn(stage, ledger, organisationId, representative),
    [`${representative.accountId} LEGAL_REPRESENTATIVE`, `${administrator.accountId} ADMINISTRATOR`].toSorted(),
  );
  for (const person of [players.legalRepresentative, players.administrator, players.clerk]) {
    await assertNothingOpen(stage, person);
  }
}

/** Level, then memberships. */
async function ownAccount(stage: Stage, ledger: Ledger, account: Account): Promise<(number | string)[]> {
  const { accessToken: token } = await signIn(stage, ledger, account);
  const accounts = callService(AccountService, stage.platform.httpUrl("registry"), { token, trace: newTrace() });
  const { level, memberships } = await stubbornly(() => accounts.getOwnAccount({}));
  return [level, ...memberships.map(({ organisationId, role }) => `${organisationId} ${Role[role]}`)];
}

async function assertNothingOpen(stage: Stage, { citizenId }: SyntheticPerson): Promise<void> {
  const token = await stubbornly(() => counterToken(stage));
  const counter = callService(CounterService, stage.platform.httpUrl("registry"), { token, trace: newTrace() });
  const { registrations } = await stubbornly(() => counter.findRegistrations({ citizenId }));
  assert.equal(registrations.length, 0, "no registration of the person is left open");
}

/** Nothing happened besides what was acknowledged, on the whole platform; and no source was paid for it twice. */
async function assertNothingElse(stage: Stage, journeys: number): Promise<void> {
  const expected = {
    "registration.submitted": 4 * journeys,
    "registration.confirmed": 4 * journeys,
    "organisation.submitted": journeys,
    "organisation.registered": journeys,
    "role.granted": 2 * journeys,
    "account.cancelled": journeys,
    // Four registrations, the organisation's representative, and the one with consent.
    "verification.requested": 6 * journeys,
    "verification.decided": 6 * journeys,
  };
  for (const [type, count] of Object.entries(expected)) {
    assert.equal(await countEntries(stage, type), count, `${type} happened ${count} times`);
  }
  const sandbox = sandboxClient(stage.platform.sandboxUrl);
  assert.equal((await sandbox.counters("population-base")).billed, 5 * journeys, "each person's check is paid once");
  assert.equal((await sandbox.counters("legal-person-base")).billed, journeys, "the organisation's check is paid once");
}
