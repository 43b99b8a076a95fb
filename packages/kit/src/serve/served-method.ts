import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import { ObjectRule } from "@fujie/api/fujie/options/v1/options";
import { type AccessRule, type FindOwners, readAccessRule } from "./access.ts";
import { deadlineMsDefault, deadlineMsMax } from "./deadline.ts";
import type { Handler, Implementation, Reply } from "./handler.ts";
import { createMessageCheck } from "./validation.ts";

/** One method, with everything that its calls need worked out before the first one. */
export interface ServedMethod {
  readonly desc: DescMethod;
  /** "fujie.trust.v1.TrustService/Verify" */
  readonly name: string;
  /** "/fujie.trust.v1.TrustService/Verify" */
  readonly path: string;
  readonly rule: AccessRule;
  /** Undefined for streams: they last until one side ends them. */
  readonly defaultTimeoutMs: number | undefined;
  readonly implementation: Implementation;
  checkMessage(message: Message): void;
}

/** Prepares every method of a service. Throws when one could not be served safely. */
export function prepareMethods(handler: Handler, owners: Readonly<Record<string, FindOwners>>): ServedMethod[] {
  return handler.service.methods.map((desc) => prepare(desc, handler, readAccessRule(desc, owners)));
}

/** Prepares a service of gRPC itself (health, reflection), whose protos cannot carry our access rule. */
export function prepareOpenMethods(handler: Handler): ServedMethod[] {
  return handler.service.methods.map((desc) => prepare(desc, handler, openRule));
}

const openRule: AccessRule = {
  object: ObjectRule.PUBLIC,
  scopes: [],
  peers: new Set(),
  privileged: false,
  minLevel: 0,
  freshMs: 0,
  defaultTimeoutMs: 0,
  objectField: undefined,
  findOwners: undefined,
};

function prepare(desc: DescMethod, handler: Handler, rule: AccessRule): ServedMethod {
  const name = `${desc.parent.typeName}/${desc.name}`;
  if (rule.defaultTimeoutMs > deadlineMsMax) throw new Error(`${name}: its default deadline is longer than allowed`);
  const stated = rule.defaultTimeoutMs === 0 ? undefined : rule.defaultTimeoutMs;
  return {
    desc,
    name,
    path: `/${name}`,
    rule,
    defaultTimeoutMs: stated ?? (desc.methodKind === "unary" ? deadlineMsDefault : undefined),
    implementation: handler.implementationOf(desc.localName),
    checkMessage: createMessageCheck(desc.input),
  };
}

/** The handler's answer as a message. */
export function toMessage(served: ServedMethod, reply: Reply): Message {
  return create(served.desc.output, reply);
}
