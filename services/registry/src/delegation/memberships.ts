import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import type { Context } from "../context.ts";
import { openIdentities } from "../subjects/vault.ts";
import { findRolesOf } from "./store.ts";

/** The person's roles with the organisations' names, newest first, at most 100. */
export async function findMemberships({ db, ring, clock }: Pick<Context, "db" | "ring" | "clock">, accountId: string) {
  const roles = await findRolesOf(db, accountId, new Date(clock.nowMs()));
  const names = await openIdentities(
    db,
    ring,
    roles.map(({ organisationId }) => organisationId),
  );
  return roles.map(({ organisationId, role }) => ({
    organisationId,
    organisationName: names.get(organisationId)?.name ?? "",
    role: Role[role],
  }));
}
