/*
 * The feed "registry.changes": what auth has to know at once. Published in the transaction of the change itself.
 */
import { create } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { AccountState } from "@fujie/api/fujie/registry/v1/accounts";
import { ApplicationKind } from "@fujie/api/fujie/registry/v1/applications";
import { Role } from "@fujie/api/fujie/registry/v1/delegation";
import {
  AccountChangedSchema,
  ApplicationChangedSchema,
  MembershipChangedSchema,
  OperatorChangedSchema,
} from "@fujie/api/fujie/registry/v1/events";
import type { Transaction } from "@fujie/kit/db";
import { publish } from "@fujie/kit/feed";
import type { AccountRow } from "../accounts/store.ts";
import type { Application } from "../applications/application.ts";
import type { RoleName } from "../delegation/rules.ts";

export const CHANGES_TOPIC = "registry.changes";

/** `wipeCredentials`: what was bound before this moment counts no more. */
export async function publishAccount(
  tx: Transaction,
  { accountId, state, level }: Pick<AccountRow, "accountId" | "state" | "level">,
  { wipeCredentials }: { readonly wipeCredentials: boolean },
): Promise<void> {
  const event = create(AccountChangedSchema, { accountId, state: AccountState[state], level, wipeCredentials });
  await publish(tx, CHANGES_TOPIC, anyPack(AccountChangedSchema, event));
}

/** The role is undefined when it ended. */
export async function publishMembership(
  tx: Transaction,
  accountId: string,
  organisationId: string,
  role: RoleName | undefined,
): Promise<void> {
  const event = create(MembershipChangedSchema, { accountId, organisationId, role: Role[role ?? "UNSPECIFIED"] });
  await publish(tx, CHANGES_TOPIC, anyPack(MembershipChangedSchema, event));
}

export async function publishApplication(tx: Transaction, application: Application): Promise<void> {
  await publish(tx, CHANGES_TOPIC, applicationEvent(application));
}

export async function publishOperator(tx: Transaction, operatorId: string): Promise<void> {
  await publish(tx, CHANGES_TOPIC, operatorEvent(operatorId));
}

export function applicationEvent(application: Application): Any {
  const { applicationId, clientId, kind, enabled, name, redirectUris, scopes, sector } = application;
  const event = create(ApplicationChangedSchema, {
    applicationId,
    clientId,
    kind: ApplicationKind[kind],
    enabled,
    name,
    redirectUris: [...redirectUris],
    scopes: [...scopes],
    sector,
  });
  return anyPack(ApplicationChangedSchema, event);
}

export function operatorEvent(operatorId: string): Any {
  return anyPack(OperatorChangedSchema, create(OperatorChangedSchema, { operatorId }));
}
