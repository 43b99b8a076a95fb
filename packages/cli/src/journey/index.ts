/**
 * The main job, end to end, through the public APIs only:
 *
 *   ceremony ─▶ 1 registration ─▶ 2 counter ─▶ 3 organisation ─▶ 4 delegation ─▶ 5 single sign-on
 *            ─▶ 6 consent and verification ─▶ 7 audit ─▶ 8 cancellation
 *
 * Each chapter runs under one trace of its own and throws when anything is not as the rules demand.
 */
import type { Platform } from "../up/index.ts";
import { newTrace } from "./callers.ts";
import { castPlayers, remember } from "./cast.ts";
import { playAudit } from "./chapters/audit.ts";
import { playCancellation } from "./chapters/cancellation.ts";
import { playCeremony } from "./chapters/ceremony.ts";
import { confirm, counterToken, playCounter } from "./chapters/counter.ts";
import { playDelegation, playOrganisation } from "./chapters/organisation.ts";
import { playRegistration, register } from "./chapters/registration.ts";
import { playSignOn } from "./chapters/sign-on.ts";
import { playVerification } from "./chapters/verification.ts";
import type { Narrator } from "./narrator.ts";
import { beginChapter, type Stage } from "./stage.ts";

export { plainNarrator } from "./narrator.ts";
export type { Narrator };

/** What the journey leaves behind for whoever wants to go on: for the printed examples. */
export interface JourneyEnd {
  readonly clientId: string;
  readonly clientSecret: string;
}

export async function playJourney(platform: Platform, narrator: Narrator): Promise<JourneyEnd> {
  const { memory, save } = remember(platform.files.journey);
  const run = memory.runs;
  memory.runs += 1;
  save();
  const players = castPlayers(run);
  const open = { platform, narrator, players, trace: newTrace(), traces: [] };
  if (memory.staff === undefined) {
    beginChapter(open, "0 The ceremony: the first two administrators, once and never again");
    memory.staff = await playCeremony(open);
    save();
  }
  const stage: Stage = { ...open, staff: memory.staff };
  const loginName = (who: string) => `${who}${run}`;

  beginChapter(stage, "1 A person registers");
  const pending = await playRegistration(stage, players.legalRepresentative, loginName("representative"));

  beginChapter(stage, "2 The counter confirms");
  const representative = await playCounter(stage, players.legalRepresentative, pending);

  beginChapter(stage, "3 An organisation registers with its certificate");
  const organisationId = await playOrganisation(stage, representative);

  beginChapter(stage, "4 Legal representative → administrator → clerk");
  const counter = await counterToken(stage);
  const admit = async (who: "administrator" | "clerk") =>
    confirm(stage, counter, players[who], await register(stage, players[who], loginName(who)));
  const administrator = await admit("administrator");
  const clerk = await admit("clerk");
  narrator.answers("registry", "two more people registered and were confirmed at the counter");
  await playDelegation(stage, organisationId, { representative, administrator, clerk });

  beginChapter(stage, "5 The clerk signs in");
  const tokens = await playSignOn(stage, clerk, organisationId);

  beginChapter(stage, "6 An application verifies, with consent");
  await playVerification(stage, tokens.accessToken, players.clerk, players.administrator);

  beginChapter(stage, "7 The record proves it");
  await playAudit(stage);

  beginChapter(stage, "8 The clerk leaves");
  await playCancellation(stage, players.clerk, clerk, tokens);
  const { clientId, clientSecret } = memory.staff.housingFund;
  return { clientId, clientSecret };
}
