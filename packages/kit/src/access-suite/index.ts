import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { create, type DescMethod, type DescService, getOption, type Message, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { access, ObjectRule } from "@fujie/api/fujie/options/v1/options";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { type ChannelCredentials, Client, credentials, Metadata, type StatusObject } from "@grpc/grpc-js";
import { readStatusDetails } from "../clients/status-details.ts";
import type { Reason } from "../errors/index.ts";

/** One call that must be refused. */
export interface AccessCase {
  /** For the name of a test: "fujie.trust.v1.TrustService/Verify refuses a caller without a token". */
  readonly title: string;
  readonly method: DescMethod;
  /** The scopes of the token to call with; undefined for a call without a token. */
  readonly scopes: readonly string[] | undefined;
  /** What else the token must say: as much as the rule wants, except where the case is that it does not. */
  readonly standing: Standing;
  readonly request: Message;
  readonly expected: Reason;
}

/** A person's level, and how long ago the subject authenticated. */
export interface Standing {
  readonly level: number;
  readonly authAgeSeconds: number;
}

export interface AccessSuiteOptions {
  /** The methods ("fujie.audit.v1.LogService/GetCheckpoint") that are meant to be open. Any other open one throws. */
  readonly publicMethods?: readonly string[];
}

/**
 * The calls that every method of the services must refuse, made from its access rule: without a token, with a token
 * that lacks the scope, below the level, after too long, on another tenant's object, as a subject where only services
 * may call.
 * A method without a rule throws, and so does an open one that is not listed: nothing can be forgotten silently.
 */
export function accessCases(services: readonly DescService[], options: AccessSuiteOptions = {}): AccessCase[] {
  const open = new Set(options.publicMethods ?? []);
  const cases = services.flatMap((service) => service.methods.flatMap((method) => casesOf(method, open)));
  if (open.size > 0) throw new Error(`no such open method: ${[...open].join(", ")}`);
  return cases;
}

const objectRulesWithField: ReadonlySet<ObjectRule> = new Set([
  ObjectRule.SELF,
  ObjectRule.ORGANISATION,
  ObjectRule.APPLICATION,
  ObjectRule.OWNER,
]);

function casesOf(method: DescMethod, open: Set<string>): AccessCase[] {
  const name = `${method.parent.typeName}/${method.name}`;
  const rule = getOption(method, access);
  if (rule.object === ObjectRule.UNSPECIFIED) throw new Error(`${name} has no access rule`);
  if (rule.object === ObjectRule.PUBLIC) {
    if (!open.delete(name)) throw new Error(`${name} is open to everybody, but not listed as such`);
    return [];
  }
  const request = foreignRequest(method, rule.objectField);
  const enough: Standing = { level: rule.minLevel, authAgeSeconds: 0 };
  const refusal = (
    who: string,
    scopes: readonly string[] | undefined,
    expected: Reason,
    standing = enough,
  ): AccessCase => ({ title: `${name} refuses ${who}`, method, scopes, standing, request, expected });
  if (rule.object === ObjectRule.PEER) {
    return [
      refusal("a caller without a certificate", undefined, "PEER_CERTIFICATE_INVALID"),
      refusal("a subject where only services may call", ["any"], "PEER_FORBIDDEN"),
    ];
  }
  const cases = [refusal("a caller without a token", undefined, "TOKEN_MISSING")];
  if (rule.scopes.length > 0) cases.push(refusal("a token without its scope", ["another.scope"], "SCOPE_MISSING"));
  if (rule.minLevel > 0) {
    const low: Standing = { ...enough, level: rule.minLevel - 1 };
    cases.push(refusal(`a person below level ${rule.minLevel}`, rule.scopes, "LEVEL_TOO_LOW", low));
  }
  if (rule.freshSeconds > 0) {
    const old: Standing = { ...enough, authAgeSeconds: rule.freshSeconds + 60 };
    cases.push(refusal("a subject who signed in too long ago", rule.scopes, "STEP_UP_REQUIRED", old));
  }
  if (!objectRulesWithField.has(rule.object)) return cases;
  const foreign = rule.scopes.map((scope) => refusal(`a foreign object with ${scope}`, [scope], "OBJECT_FORBIDDEN"));
  return [...cases, ...foreign];
}

/** A request that names an object nobody has; everything else is empty, for access is judged before validity. */
function foreignRequest(method: DescMethod, objectField: string): Message {
  const field = method.input.fields.find(({ name }) => name === objectField);
  return create(method.input, field === undefined ? {} : { [field.localName]: randomUUID() });
}

export interface AccessSuiteTarget {
  /** gRPC address of the server: "127.0.0.1:12345". */
  readonly address: string;
  /** Server TLS without a client certificate; clear text when absent. */
  readonly channelCredentials?: ChannelCredentials;
  /** A token that the server accepts, of a subject, organisation and application that own nothing. */
  mintToken(scopes: readonly string[], standing: Standing): string | Promise<string>;
}

/** Makes the call over a real connection and asserts that it is refused for the expected reason. */
export async function runAccessCase(target: AccessSuiteTarget, each: AccessCase): Promise<void> {
  const metadata = new Metadata();
  if (each.scopes !== undefined)
    metadata.set("authorization", `Bearer ${await target.mintToken(each.scopes, each.standing)}`);
  const channel = new Client(target.address, target.channelCredentials ?? credentials.createInsecure());
  try {
    const status = await callAndAwaitStatus(channel, each, metadata);
    const error = new ConnectError(status.details, Code.Unknown);
    error.details = readStatusDetails(status.metadata);
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, each.expected, each.title);
  } finally {
    channel.close();
  }
}

function callAndAwaitStatus(
  channel: Client,
  { method, request }: AccessCase,
  metadata: Metadata,
): Promise<StatusObject> {
  return new Promise((resolve) => {
    // On the wire all kinds of calls are one, so a bidirectional stream can make any of them.
    const call = channel.makeBidiStreamRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: Message) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => bytes,
      metadata,
      { deadline: new Date(Date.now() + 10_000) },
    );
    call.on("error", () => {});
    call.on("status", resolve);
    call.resume();
    call.write(request);
    call.end();
  });
}
