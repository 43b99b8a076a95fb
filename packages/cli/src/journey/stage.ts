import { type SignInMethod, signIn, type Tokens } from "../sign-in/sign-in.ts";
import type { Platform } from "../up/index.ts";
import { newTrace, type Trace } from "./callers.ts";
import type { Players, Staff } from "./cast.ts";
import { type Credential, certificatesOf, signWith } from "./certificates.ts";
import type { Narrator } from "./narrator.ts";

/** A real-name person as the journey knows them. */
export interface Account {
  readonly accountId: string;
  readonly loginName: string;
  readonly password: string;
}

/** Where the journey plays: the platform's public addresses, and what its steps learnt so far. */
export interface Stage {
  readonly platform: Platform;
  readonly narrator: Narrator;
  readonly players: Players;
  readonly staff: Staff;
  /** Of the chapter that plays now. */
  trace: Trace;
  /** The trace of each chapter, in order, for the audit chapter. */
  readonly traces: { readonly chapter: string; readonly traceId: string }[];
}

export const PERSON_SCOPES = [
  "account.read",
  "account.write",
  "organisation.register",
  "organisation.read",
  "delegation.read",
  "delegation.write",
  "consent.read",
  "consent.write",
];

/** Begins a chapter: a title and a trace of its own. */
export function beginChapter(stage: Pick<Stage, "trace" | "traces" | "narrator">, title: string): void {
  stage.trace = newTrace();
  stage.traces.push({ chapter: title, traceId: stage.trace.traceId });
  stage.narrator.chapter(title);
}

export async function signInPerson(
  stage: Stage,
  { loginName, password }: Pick<Account, "loginName" | "password">,
  organisationId?: string,
): Promise<Tokens> {
  return signIn({
    issuer: stage.platform.issuer,
    method: { kind: "password", loginName, password },
    scopes: PERSON_SCOPES,
    traceparent: stage.trace.traceparent,
    ...(organisationId === undefined ? {} : { organisationId }),
  });
}

/** Signs an operator in by certificate; the scopes are those of his role. */
export async function signInOperator(
  { platform, trace }: Pick<Stage, "platform" | "trace">,
  credential: Credential,
  scopes: readonly string[],
): Promise<string> {
  const method: SignInMethod = {
    kind: "certificate",
    certificates: certificatesOf(credential),
    sign: async (message) => signWith(credential, message),
  };
  const tokens = await signIn({ issuer: platform.issuer, method, scopes, traceparent: trace.traceparent });
  return tokens.accessToken;
}
