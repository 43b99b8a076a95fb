/*
 * What time does by itself. Each task takes a bounded batch of due rows, skips those that another replica holds, and
 * may be repeated or killed at any point.
 */
import { type SweepTask, transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import { purgeBlocks } from "../blocks/store.ts";
import { purgeChallenges } from "../challenges/store.ts";
import { purgeConsents } from "../consents/store.ts";
import type { Context } from "../context.ts";
import { endRoles } from "../delegation/end.ts";
import { takeExpired } from "../delegation/store.ts";
import { purgeEnrolments } from "../enrolments/store.ts";
import { purgeProposals } from "../operators/store.ts";
import { askAgainAboutOrganisations } from "../organisations/settle.ts";
import { endRegistration } from "../registrations/end.ts";
import { askAgainAboutRegistrations } from "../registrations/settle.ts";
import { lockExpiredRegistrations } from "../registrations/store.ts";
import { suspendEnded } from "../sources/expire.ts";
import { purgeMaintenance, purgeSourceTests } from "../sources/store.ts";
import { eraseDueSubjects } from "../subjects/store.ts";

const OWN_ACT = { service: "registry" } as const;
/** How long a person can look up whom he let verify what. */
const CONSENT_HISTORY_MS = 3 * 365 * 24 * 60 * 60_000;

/** How long a proposal that nobody decided is still told apart from none. */
const PROPOSAL_MEMORY_MS = 30 * 24 * 60 * 60_000;

/** What changes something that others see. */
export function changingSweeps(context: Context): Readonly<Record<string, SweepTask>> {
  return {
    "registrations to ask about": (max) => askAgainAboutRegistrations(context, max),
    "organisations to ask about": (max) => askAgainAboutOrganisations(context, max),
    "expired registrations": (max) => expireRegistrations(context, max),
    "expired roles": (max) => expireRoles(context, max),
    "ended agreements of sources": (max) => suspendEnded(context, max),
    "subjects to erase": (max) => eraseSubjects(context, max),
  };
}

/** What only takes room. */
export function purges({ db, clock }: Pick<Context, "db" | "clock">): Readonly<Record<string, SweepTask>> {
  const now = (): Date => new Date(clock.nowMs());
  return {
    enrolments: (max) => purgeEnrolments(db, now(), max),
    challenges: (max) => purgeChallenges(db, now(), max),
    proposals: (max) => purgeProposals(db, new Date(clock.nowMs() - PROPOSAL_MEMORY_MS), max),
    blocks: (max) => purgeBlocks(db, now(), max),
    maintenance: (max) => purgeMaintenance(db, now(), max),
    "tests of sources": (max) => purgeSourceTests(db, now(), max),
    consents: (max) => purgeConsents(db, new Date(clock.nowMs() - CONSENT_HISTORY_MS), max),
  };
}

async function expireRegistrations(context: Context, batchMax: number): Promise<number> {
  return transaction(context.db, async (tx) => {
    const due = await lockExpiredRegistrations(tx, new Date(context.clock.nowMs()), batchMax);
    for (const registration of due) {
      await endRegistration(context, tx, OWN_ACT, registration, { state: "EXPIRED", because: "nobody-came" });
    }
    return due.length;
  });
}

async function expireRoles(context: Context, batchMax: number): Promise<number> {
  return transaction(context.db, async (tx) => {
    const due = await takeExpired(tx, new Date(context.clock.nowMs()), batchMax);
    for (const { delegationId, accountId, organisationId, role } of await endRoles(context, tx, due)) {
      await recordEvent(context, tx, OWN_ACT, {
        type: "role.expired",
        outcome: "SUCCESS",
        subject: accountId,
        organisationId,
        details: { delegation_id: delegationId, role },
      });
    }
    return due.length;
  });
}

async function eraseSubjects(context: Context, batchMax: number): Promise<number> {
  return transaction(context.db, async (tx) => {
    const erased = await eraseDueSubjects(tx, new Date(context.clock.nowMs()), batchMax);
    for (const subject of erased) {
      await recordEvent(context, tx, OWN_ACT, { type: "subject.erased", outcome: "SUCCESS", subject });
    }
    return erased.length;
  });
}
