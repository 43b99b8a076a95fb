/** A request whose body has been read whole. */
export type HttpRequest = {
  readonly method: string;
  /** Without a query: requests that have one are refused before. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
};

/** What to do with a request. `hang` leaves it open, `drop` cuts its connection. */
export type HttpReply =
  | {
      readonly kind: "reply";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Uint8Array;
    }
  | { readonly kind: "hang" | "drop" };

/** Answers everything under one first segment of the path. */
export type Room = (request: HttpRequest) => Promise<HttpReply>;

export function jsonReply(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): HttpReply {
  const type = { "content-type": "application/json; charset=utf-8" };
  return { kind: "reply", status, headers: { ...type, ...headers }, body: Buffer.from(JSON.stringify(value)) };
}

/** An error with its stable reason and, for malformed input, the field. `retryAfterMs` becomes Retry-After. */
export function errorReply(
  status: number,
  reason: string,
  details: { readonly field?: string; readonly message?: string; readonly retryAfterMs?: number } = {},
): HttpReply {
  const { retryAfterMs, ...rest } = details;
  const headers =
    retryAfterMs === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) };
  return jsonReply(status, { error: { reason, ...rest } }, headers);
}

export const notFound = (): HttpReply => errorReply(404, "NOT_FOUND");

/** The value in a JSON body; undefined, which is no JSON value, when it is not JSON. */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
}
