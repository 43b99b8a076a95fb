import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { DomainError } from "../errors/index.ts";
import type { CallSpan } from "../telemetry/index.ts";
import type { VerifiedToken } from "../tokens/index.ts";
import type { Caller } from "./access.ts";
import type { Timeout } from "./deadline.ts";
import { callerAddress, networkOfAddress, type TrustedProxies } from "./network.ts";
import type { ServedMethod } from "./served-method.ts";

/** The certificate that came with a connection: a service's name, none at all, or one that must be refused. */
export type PeerIdentity = { readonly name: string | undefined; readonly refused: boolean };

export const noPeer: PeerIdentity = { name: undefined, refused: false };

/** What the pipeline asks the protocol for. */
export interface Wire {
  readonly protocolName: string;
  readonly requestMethod: string;
  readonly url: string;
  readonly timeout: Timeout;
  readonly peer: PeerIdentity;
  /** Of the other end of the connection. */
  readonly connectedAddress: string | undefined;
  header(name: string): string | undefined;
  requestHeader(): Headers;
}

export type EndedBy = "deadline" | "caller" | "drain";

/**
 * One call on its way through the pipeline, and the handler's context. Every member that costs something (abort
 * controller, headers, context values) is made when it is first asked for: most calls never do.
 */
export class Call implements HandlerContext {
  readonly served: ServedMethod;
  readonly wire: Wire;
  readonly span: CallSpan;
  readonly startedMs: number;
  readonly proxies: TrustedProxies;
  token: VerifiedToken | undefined;
  /** Whether the access rule let the call pass: what fails from here on is the handler's to explain. */
  entered = false;
  /** Why the call must stop although its handler has not finished. */
  endedBy: EndedBy | undefined;
  /** The adapter's way to answer at once when the call must stop. */
  onEnd: ((by: EndedBy) => void) | undefined;
  #deadlineMs: number | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;
  #address: { readonly text: string | undefined } | undefined;
  #finished = false;

  constructor(served: ServedMethod, wire: Wire, span: CallSpan, proxies: TrustedProxies) {
    this.proxies = proxies;
    this.served = served;
    this.wire = wire;
    this.span = span;
    this.startedMs = performance.now();
  }

  get method(): DescMethod {
    return this.served.desc;
  }
  get service(): DescService {
    return this.served.desc.parent;
  }
  get protocolName(): string {
    return this.wire.protocolName;
  }
  get requestMethod(): string {
    return this.wire.requestMethod;
  }
  get url(): string {
    return this.wire.url;
  }
  get requestHeader(): Headers {
    this.#requestHeader ??= this.wire.requestHeader();
    return this.#requestHeader;
  }
  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }
  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }
  get values(): ContextValues {
    this.#values ??= createContextValues();
    return this.#values;
  }
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.endedBy !== undefined || this.#finished) this.#controller.abort(endError(this.endedBy));
    }
    return this.#controller.signal;
  }

  /** The caller's, behind the proxies whose word is taken. */
  get address(): string | undefined {
    const { wire, proxies } = this;
    this.#address ??= { text: callerAddress(wire.connectedAddress, wire.header("x-forwarded-for"), proxies) };
    return this.#address.text;
  }

  /** Response headers, if the handler touched them. */
  get sentHeader(): Headers | undefined {
    return this.#responseHeader;
  }
  get sentTrailer(): Headers | undefined {
    return this.#responseTrailer;
  }
  get finished(): boolean {
    return this.#finished;
  }

  /** Milliseconds left until the deadline, undefined without one. */
  timeoutMs(): number | undefined {
    return this.#deadlineMs === undefined ? undefined : Math.max(0, this.#deadlineMs - performance.now());
  }

  startDeadline(timeoutMs: number): void {
    this.#deadlineMs = this.startedMs + timeoutMs;
    this.#deadlineTimer = setTimeout(endAtDeadline, timeoutMs, this);
  }

  /** The call must stop: tells the handler through its signal, and the adapter. */
  end(by: EndedBy): void {
    if (this.#finished || this.endedBy !== undefined) return;
    this.endedBy = by;
    this.#controller?.abort(endError(by));
    this.onEnd?.(by);
  }

  /** The answer is out. Returns the seconds it took, or undefined when it was out before. */
  finish(): number | undefined {
    if (this.#finished) return undefined;
    this.#finished = true;
    clearTimeout(this.#deadlineTimer);
    this.#controller?.abort(endError(this.endedBy));
    return (performance.now() - this.startedMs) / 1000;
  }
}

function endAtDeadline(call: Call): void {
  call.end("deadline");
}

/** The error of a call that was stopped. A stream cut by a drain may be opened again elsewhere. */
export function endError(by: EndedBy | undefined): DomainError {
  if (by === "deadline") return new DomainError("DEADLINE_EXCEEDED");
  return new DomainError(by === "drain" ? "DEPENDENCY_UNAVAILABLE" : "CANCELLED");
}

function ownCall(call: HandlerContext): Call {
  if (call instanceof Call) return call;
  throw new TypeError("the call was not served by startServer");
}

/** Who calls. */
export function caller(call: HandlerContext): Caller {
  const { token, wire } = ownCall(call);
  return { peer: wire.peer.name, token };
}

/** The subject on whose behalf the call runs. Throws TOKEN_MISSING when a service calls for itself. */
export function subjectOf(call: HandlerContext): VerifiedToken {
  const { token } = ownCall(call);
  if (token === undefined) throw new DomainError("TOKEN_MISSING");
  return token;
}

/** Milliseconds left until the call's deadline; undefined for a stream without one. */
export function deadlineOf(call: HandlerContext): number | undefined {
  return call.timeoutMs();
}

/** The trace id that the call's errors and log lines carry. */
export function traceIdOf(call: HandlerContext): string {
  return ownCall(call).span.traceId;
}

/** The caller's address; undefined where it is not known. Personal: it is neither logged nor stored. */
export function addressOf(call: HandlerContext): string | undefined {
  return ownCall(call).address;
}

/** The caller's network, "203.0.113.0/24" or "2001:db8:1::/48"; undefined where it is not known. Personal, too. */
export function networkOf(call: HandlerContext): string | undefined {
  const address = addressOf(call);
  return address === undefined ? undefined : networkOfAddress(address);
}

/** The span of the call, for spans below it. */
export function spanOf(call: HandlerContext): CallSpan {
  return ownCall(call).span;
}
