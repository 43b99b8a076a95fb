/**
 * To the OpenID library an "account" is one of our sessions: its account id is the session id. So everything that it
 * keeps (codes, refresh tokens, grants, the browser's cookie) hangs on one session, and `findAccount`, which it asks
 * before every answer, is the one place that decides whether the session is live and what the registry says now.
 */
import { isUuid } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { type Account, errors, type KoaContextWithOIDC } from "oidc-provider";
import { lookUpClient } from "../clients/look-up.ts";
import type { OauthClient } from "../clients/rules.ts";
import type { Context } from "../context.ts";
import type { Standing } from "../directory/rules.ts";
import { isLive, type Session, USE_GRAIN_MS } from "../sessions/rules.ts";
import { findSession, touchSession } from "../sessions/store.ts";
import { findGrantOrganisation } from "./store.ts";

/** A live session with what the registry says about its subject. */
export interface SignedIn {
  readonly session: Session;
  readonly standing: Standing;
}

type AccountContext = Pick<Context, "db" | "clock" | "directory" | "sessionLimits">;

/** What was found out about the accounts given to the library. */
const signedIn = new WeakMap<object, SignedIn>();

/** What stands behind an account that `findAccount` gave. */
export function signedInOf(account: Account | undefined): SignedIn | undefined {
  return account === undefined ? undefined : signedIn.get(account);
}

/**
 * The live session of that id, or undefined when it is over or its subject may have no token (any more). `grantId` is
 * given when a token is asked for: the organisation that the grant acts for must still have the subject in a role.
 * Throws TemporarilyUnavailable when the registry does not answer.
 */
export async function findAccount(
  context: AccountContext,
  sessionId: string,
  grantId: string | undefined,
): Promise<Account | undefined> {
  if (!isUuid(sessionId)) return undefined;
  const { db, clock, directory, sessionLimits } = context;
  const session = await findSession(db, sessionId);
  if (session === undefined || !isLive(session, clock.nowMs(), sessionLimits)) return undefined;
  const organisationId = grantId === undefined ? undefined : await findGrantOrganisation(db, grantId);
  const judged = await available(() => directory.judge(session, organisationId));
  if (!judged.ok) return undefined;
  await noteUse(context, session, judged.standing);
  // The library puts `pairwiseIdentifier` in the place of this id before anybody sees it.
  const account: Account = { accountId: sessionId, claims: () => ({ sub: sessionId }) };
  signedIn.set(account, { session, standing: judged.standing });
  return account;
}

/** The subject id that a client sees: the platform's own sees the account, any other one its pairwise id. */
export async function subjectFor(
  { directory }: Pick<Context, "directory">,
  session: Session,
  client: OauthClient,
): Promise<string> {
  if (client.firstParty) return session.subject;
  return available(() => directory.pairwiseSubject(session.subject, client.sector));
}

/** The client of the request under way. */
export async function clientOf({ db }: Pick<Context, "db">, ctx: KoaContextWithOIDC): Promise<OauthClient> {
  const client = ctx.oidc.client === undefined ? undefined : await lookUpClient(db, ctx.oidc.client.clientId);
  if (client === undefined) throw new errors.InvalidClient("client is unknown or suspended");
  return client;
}

/** Our errors of an absent dependency, as OAuth knows them; a bug stays a bug. */
export async function available<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    if (cause instanceof DomainError)
      throw new errors.TemporarilyUnavailable("the registry does not answer", { cause });
    throw cause;
  }
}

async function noteUse({ db, clock }: AccountContext, session: Session, { level }: Standing): Promise<void> {
  const nowMs = clock.nowMs();
  if (nowMs - session.usedAtMs < USE_GRAIN_MS && level <= session.level) return;
  await touchSession(db, session.id, nowMs, level);
}
