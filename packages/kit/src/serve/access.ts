import { type DescField, type DescMethod, getOption, type Message, ScalarType } from "@bufbuild/protobuf";
import { access, ObjectRule } from "@fujie/api/fujie/options/v1/options";
import { DomainError } from "../errors/index.ts";
import type { VerifiedToken } from "../tokens/index.ts";

/** Who owns one resource. A caller that is one of them may touch it. */
export interface Owners {
  readonly subjects?: readonly string[];
  readonly organisations?: readonly string[];
  readonly applications?: readonly string[];
}

/**
 * Looks up who owns a resource; undefined when there is no such resource. The id comes from a request that is not
 * validated yet: what cannot be an id of the resource is answered with undefined, not with an error.
 */
export type FindOwners = (id: string) => Promise<Owners | undefined>;

/** The access rule of one method, checked and ready to be applied. */
export interface AccessRule {
  readonly object: ObjectRule;
  readonly scopes: readonly string[];
  readonly peers: ReadonlySet<string>;
  readonly privileged: boolean;
  /** Lowest real-name level of a person's token; 0: any. Tokens of operators and applications have level 0. */
  readonly minLevel: number;
  /** How old the subject's authentication may be; 0: any age. */
  readonly freshMs: number;
  readonly defaultTimeoutMs: number;
  /** Local name of the request's field that names the object. */
  readonly objectField: string | undefined;
  readonly findOwners: FindOwners | undefined;
}

/** Who calls: a service by its certificate, a subject by its token, or both when a service hands a token on. */
export interface Caller {
  readonly peer: string | undefined;
  readonly token: VerifiedToken | undefined;
}

const objectRulesWithField = new Set<ObjectRule>([
  ObjectRule.SELF,
  ObjectRule.ORGANISATION,
  ObjectRule.APPLICATION,
  ObjectRule.OWNER,
]);

/** A CALLER rule without scopes is for any valid token: the method tells the caller about nobody but himself. */
const objectRulesWithoutScopes: ReadonlySet<ObjectRule> = new Set([
  ObjectRule.PUBLIC,
  ObjectRule.PEER,
  ObjectRule.CALLER,
]);

/**
 * Reads the access rule that a method declares, and refuses to start a server on a rule that could not be enforced:
 * none, without scopes or peers, naming a field that is no string of the request, or a resource nobody can look up.
 */
export function readAccessRule(method: DescMethod, owners: Readonly<Record<string, FindOwners>>): AccessRule {
  const name = `${method.parent.typeName}/${method.name}`;
  const declared = getOption(method, access);
  if (declared.object === ObjectRule.UNSPECIFIED) throw new Error(`${name} has no access rule`);
  if (!objectRulesWithoutScopes.has(declared.object) && declared.scopes.length === 0)
    throw new Error(`${name}: its access rule names no scope`);
  if (declared.object === ObjectRule.PEER && declared.peers.length === 0) {
    throw new Error(`${name}: its access rule names no peer`);
  }
  return {
    object: declared.object,
    scopes: declared.scopes,
    peers: new Set(declared.peers),
    privileged: declared.privileged,
    minLevel: declared.minLevel,
    freshMs: declared.freshSeconds * 1_000,
    defaultTimeoutMs: declared.defaultTimeoutMs,
    objectField: objectRulesWithField.has(declared.object)
      ? findObjectField(method, declared.objectField).localName
      : undefined,
    findOwners: declared.object === ObjectRule.OWNER ? findLookup(name, declared.resource, owners) : undefined,
  };
}

function findObjectField(method: DescMethod, fieldName: string): DescField {
  const field = method.input.fields.find((candidate) => candidate.name === fieldName);
  if (field?.fieldKind !== "scalar" || field.scalar !== ScalarType.STRING) {
    throw new Error(
      `${method.parent.typeName}/${method.name}: object_field "${fieldName}" is no string of its request`,
    );
  }
  return field;
}

function findLookup(name: string, resource: string, owners: Readonly<Record<string, FindOwners>>): FindOwners {
  const lookup = Object.hasOwn(owners, resource) ? owners[resource] : undefined;
  if (lookup === undefined) throw new Error(`${name}: nobody can look up who owns a "${resource}"`);
  return lookup;
}

/** What the rule is judged by besides the caller. */
export interface Moment {
  readonly nowMs: number;
  readonly revocationsAreStale: boolean;
}

/** Whether the caller may use the method at all, whatever the object. Throws the DomainError that says why not. */
export function checkEntry(rule: AccessRule, caller: Caller, moment: () => Moment): void {
  if (rule.object === ObjectRule.PUBLIC) return;
  if (rule.object === ObjectRule.PEER) {
    if (caller.peer !== undefined && rule.peers.has(caller.peer)) return;
    const unknown = caller.peer === undefined && caller.token === undefined;
    throw new DomainError(unknown ? "PEER_CERTIFICATE_INVALID" : "PEER_FORBIDDEN");
  }
  const token = caller.token;
  if (token === undefined) {
    if (caller.peer !== undefined && rule.peers.has(caller.peer)) return;
    throw new DomainError("TOKEN_MISSING");
  }
  if (rule.scopes.length > 0 && !rule.scopes.some((scope) => token.scopes.has(scope))) {
    throw new DomainError("SCOPE_MISSING");
  }
  if (token.level < rule.minLevel) throw new DomainError("LEVEL_TOO_LOW");
  if (rule.freshMs > 0 || rule.privileged) checkMoment(rule, token, moment());
}

function checkMoment(rule: AccessRule, token: VerifiedToken, { nowMs, revocationsAreStale }: Moment): void {
  const isFresh = token.authTimeMs !== undefined && nowMs - token.authTimeMs <= rule.freshMs;
  if (rule.freshMs > 0 && !isFresh) throw new DomainError("STEP_UP_REQUIRED");
  if (rule.privileged && revocationsAreStale) throw new DomainError("REVOCATIONS_STALE");
}

/**
 * Whether the caller may touch the object that the message names: at once, or a promise when owners are looked up.
 * A listed peer without a token acts for the platform itself, not for a subject: no object is foreign to it.
 */
export function checkObject(rule: AccessRule, caller: Caller, message: Message): void | Promise<void> {
  if (rule.objectField === undefined || caller.token === undefined) return;
  const id: unknown = Reflect.get(message, rule.objectField);
  if (typeof id !== "string" || id === "") throw new DomainError("OBJECT_FORBIDDEN");
  if (rule.findOwners !== undefined) return checkOwners(rule.findOwners, caller.token, id);
  if (id !== ownObject(rule.object, caller.token)) throw new DomainError("OBJECT_FORBIDDEN");
}

function ownObject(object: ObjectRule, token: VerifiedToken): string | undefined {
  if (object === ObjectRule.SELF) return token.subject;
  if (object === ObjectRule.ORGANISATION) return token.organisation;
  if (object === ObjectRule.APPLICATION) return token.application;
  return undefined;
}

async function checkOwners(findOwners: FindOwners, token: VerifiedToken, id: string): Promise<void> {
  const owners = await findOwners(id);
  const isOwner =
    owners?.subjects?.includes(token.subject) ||
    (token.organisation !== undefined && owners?.organisations?.includes(token.organisation)) ||
    (token.application !== undefined && owners?.applications?.includes(token.application));
  if (isOwner !== true) throw new DomainError("OBJECT_FORBIDDEN");
}
