import type { Message } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { ObjectRule } from "@fujie/api/fujie/options/v1/options";
import type { Clock } from "../clock/index.ts";
import { DomainError, type Reason } from "../errors/index.ts";
import type { Logger } from "../log/index.ts";
import type { Telemetry } from "../telemetry/index.ts";
import type { TokenVerifier, VerifiedToken } from "../tokens/index.ts";
import { checkEntry, checkObject } from "./access.ts";
import { Call, endError, type Wire } from "./call.ts";
import { describeFailure, type Failure } from "./failure.ts";
import type { Implementation, Reply } from "./handler.ts";
import { noProxies, type TrustedProxies } from "./network.ts";
import { fromRemoteError } from "./remote-error.ts";
import type { ServedMethod } from "./served-method.ts";

export interface PipelineOptions {
  readonly telemetry: Pick<Telemetry, "startServerSpan" | "recordRpc">;
  readonly tokens: TokenVerifier;
  readonly revocations: { isStale(): boolean };
  readonly clock: Clock;
  readonly log: Pick<Logger, "error" | "warn">;
  /** Whose word is taken for where a call comes from; by default nobody's. */
  readonly trustedProxies?: TrustedProxies | undefined;
  /** Told when a known caller (a token that verified) was refused by the access rule, before the handler ran. */
  readonly onForbidden?: ((forbidden: Forbidden) => void) | undefined;
}

/** A call that the access rule refused. */
export interface Forbidden {
  /** "fujie.registry.v1.DelegationService/GrantRole" */
  readonly method: string;
  readonly reason: Reason;
  readonly token: VerifiedToken;
  readonly traceId: string;
}

/**
 * The steps of every call, in this order, whatever the protocol:
 *
 *   begin    telemetry: span, trace id, start time
 *   admit    deadline → authentication → authorisation by scope or peer, before the body is read
 *   accept   per message: authorisation by object → validation
 *   run      the handler
 *   settle   error mapping, histogram, end of the span
 *
 * The steps are synchronous wherever they can be, so that a call costs one asynchronous frame: its handler's.
 */
export interface Pipeline {
  begin(served: ServedMethod, wire: Wire): Call;
  /** Throws, or rejects, with the DomainError that refuses the call. */
  admit(call: Call): void | Promise<void>;
  /** Runs a method that takes one message and gives one. */
  runOnce(call: Call, message: Message): Promise<Reply> | Reply;
  /** Runs a method of any kind over streams. */
  runStream(call: Call, messages: AsyncIterable<Message>): AsyncIterable<Reply>;
  /** The call ended well. */
  succeed(call: Call): void;
  /** The call failed: what the caller is told. */
  fail(call: Call, error: unknown): Failure;
  /** Calls that are under way. */
  readonly active: number;
  /** Ends the streams that would never end by themselves. */
  drain(): void;
}

export function createPipeline(options: PipelineOptions): Pipeline {
  const { telemetry, tokens, revocations, log, clock, onForbidden, trustedProxies = noProxies } = options;
  const endless = new Set<Call>();
  const moment = () => ({ nowMs: clock.nowMs(), revocationsAreStale: revocations.isStale() });
  let active = 0;
  let draining = false;

  function begin(served: ServedMethod, wire: Wire): Call {
    active += 1;
    const trusted = wire.peer.name === undefined ? undefined : trustedSpan;
    const span = telemetry.startServerSpan(served.name, (name) => wire.header(name), trusted);
    return new Call(served, wire, span, trustedProxies);
  }

  function admit(call: Call): void | Promise<void> {
    applyDeadline(call);
    if (call.wire.peer.refused) throw new DomainError("PEER_CERTIFICATE_INVALID");
    if (call.served.rule.object === ObjectRule.PUBLIC) return;
    const authorization = call.wire.header("authorization");
    if (authorization === undefined) return enter(call);
    const verified = tokens.verify(bearerToken(authorization));
    if (verified instanceof Promise) return verified.then((token) => enter(call, token));
    enter(call, verified);
  }

  function applyDeadline(call: Call): void {
    const { timeout } = call.wire;
    if (timeout === "malformed") throw new DomainError("DEADLINE_MALFORMED");
    const timeoutMs = timeout ?? call.served.defaultTimeoutMs;
    if (timeoutMs !== undefined) call.startDeadline(timeoutMs);
    if (timeoutMs === 0) throw new DomainError("DEADLINE_EXCEEDED");
    if (timeoutMs !== undefined || call.served.implementation.answers !== "many") return;
    endless.add(call);
    if (draining) call.end("drain");
  }

  function enter(call: Call, token?: VerifiedToken): void {
    call.token = token;
    checkEntry(call.served.rule, { peer: call.wire.peer.name, token }, moment);
  }

  function accept(call: Call, message: Message): void | Promise<void> {
    const { rule } = call.served;
    if (rule.objectField !== undefined) {
      const looking = checkObject(rule, { peer: call.wire.peer.name, token: call.token }, message);
      if (looking !== undefined) return looking.then(() => enterHandler(call, message));
    }
    enterHandler(call, message);
  }

  function enterHandler(call: Call, message: Message): void {
    call.entered = true;
    call.served.checkMessage(message);
  }

  async function* acceptEach(call: Call, messages: AsyncIterable<Message>): AsyncIterable<Message> {
    for await (const message of messages) {
      await accept(call, message);
      yield message;
    }
  }

  function runOnce(call: Call, message: Message): Promise<Reply> | Reply {
    const accepting = accept(call, message);
    const { implementation, name } = call.served;
    if (implementation.answers !== "once") throw new Error(`${name} is a stream`);
    if (accepting !== undefined) return accepting.then(() => call.span.run(() => implementation.run(message, call)));
    return call.span.run(() => implementation.run(message, call));
  }

  async function* runStream(call: Call, messages: AsyncIterable<Message>): AsyncIterable<Reply> {
    const { implementation } = call.served;
    if (implementation.answers === "once") {
      yield await runOnce(call, await onlyMessage(messages));
    } else if (implementation.answers === "once-to-many") {
      yield await call.span.run(() => implementation.run(acceptEach(call, messages), call));
    } else {
      yield* inSpan(call, await openReplies(call, implementation, messages));
    }
  }

  async function openReplies(
    call: Call,
    implementation: Extract<Implementation, { answers: "many" | "many-to-many" }>,
    messages: AsyncIterable<Message>,
  ): Promise<AsyncIterator<Reply>> {
    if (implementation.answers === "many-to-many") {
      return call.span.run(() => implementation.run(acceptEach(call, messages), call)[Symbol.asyncIterator]());
    }
    const message = await onlyMessage(messages);
    await accept(call, message);
    return call.span.run(() => implementation.run(message, call)[Symbol.asyncIterator]());
  }

  function succeed(call: Call): void {
    settle(call, "OK");
  }

  function fail(call: Call, error: unknown): Failure {
    const failure = describeFailure(toDomainError(call, error), call.span.traceId);
    if (call.token !== undefined && !call.entered && failure.code === "PERMISSION_DENIED") {
      onForbidden?.({
        method: call.served.name,
        reason: failure.reason,
        token: call.token,
        traceId: call.span.traceId,
      });
    }
    settle(call, failure.code);
    return failure;
  }

  function settle(call: Call, code: string): void {
    const seconds = call.finish();
    if (seconds === undefined) return;
    active -= 1;
    if (call.served.implementation.answers === "many") endless.delete(call);
    call.span.end(code);
    telemetry.recordRpc({ method: call.served.name, code, seconds });
  }

  function toDomainError(call: Call, error: unknown): DomainError {
    if (call.endedBy !== undefined) return endError(call.endedBy);
    const known = error instanceof ConnectError ? fromRemoteError(error) : error;
    const about = { method: call.served.name, trace_id: call.span.traceId };
    if (!(known instanceof DomainError)) {
      log.error({ ...about, error: known }, "call failed unexpectedly");
      return new DomainError("INTERNAL", { cause: known });
    }
    if (known.cause !== undefined) log.warn({ ...about, reason: known.reason, error: known.cause }, "call failed");
    return known;
  }

  function drain(): void {
    draining = true;
    for (const call of [...endless]) call.end("drain");
  }

  return {
    begin,
    admit,
    runOnce,
    runStream,
    succeed,
    fail,
    drain,
    get active() {
      return active;
    },
  };
}

const trustedSpan = { trusted: true } as const;

/** The token of an `authorization: Bearer …` header (RFC 6750 §2.1). */
function bearerToken(authorization: string): string {
  if (authorization.slice(0, 7).toLowerCase() !== "bearer ") throw new DomainError("TOKEN_INVALID");
  return authorization.slice(7);
}

async function onlyMessage(messages: AsyncIterable<Message>): Promise<Message> {
  let only: Message | undefined;
  for await (const message of messages) {
    if (only !== undefined) throw new DomainError("REQUEST_MALFORMED");
    only = message;
  }
  if (only === undefined) throw new DomainError("REQUEST_MALFORMED");
  return only;
}

/** Pulls each reply with the call's span as the active one: a generator runs in the context of who asks for the next. */
async function* inSpan(call: Call, replies: AsyncIterator<Reply>): AsyncIterable<Reply> {
  try {
    for (;;) {
      const step = await call.span.run(() => replies.next());
      if (step.done === true) return;
      yield step.value;
    }
  } finally {
    await replies.return?.();
  }
}
