/**
 * The HTTP manners that the national bases share: JSON, requests signed by HMAC, an outcome query by bizSeq. What the
 * status means for whoever pays:
 *
 *   200 an answer │ 503 away, not paid │ 429 over quota, not paid │ 400, 401, 409 refused, not paid
 *   anything else, no or a broken answer: unknown, to be cleared up by the outcome query
 */
import { createHash, createHmac, createSecretKey, type KeyObject } from "node:crypto";
import type { Clock } from "@fujie/kit/clock";
import type { EntryReader } from "./entry.ts";
import { SourceError } from "./source.ts";
import { readSourceUrl } from "./urls.ts";

export interface SignedHttpSettings {
  /** Origin, without a trailing slash. */
  readonly url: string;
  /** The platform's id at the base. */
  readonly clientId: string;
  readonly secret: KeyObject;
}

export interface SignedHttpOptions extends SignedHttpSettings {
  /** For example "/population/v1/checks". */
  readonly path: string;
  readonly clock: Clock;
}

/** Throws SourcesFileError. */
export function readSignedHttpSettings(entry: EntryReader): SignedHttpSettings {
  return {
    url: readSourceUrl(entry, "url"),
    clientId: entry.text("clientId", /^[\x21-\x7e]{1,128}$/),
    secret: createSecretKey(entry.file("secretFile", { secret: true })),
  };
}

export interface SignedHttp {
  /** Asks, and returns the JSON of a 200. Throws SourceError. */
  post(body: unknown, signal: AbortSignal): Promise<unknown>;
  /** The JSON that the check was answered with; undefined: it never arrived. Throws SourceError. */
  get(bizSeq: string, signal: AbortSignal): Promise<unknown>;
}

const ANSWER_BYTES_MAX = 64 * 1024;
const RETRY_AFTER_SECONDS_MAX = 86_400;

export function openSignedHttp(options: SignedHttpOptions): SignedHttp {
  const { path } = options;
  return {
    post: async (body, signal) => {
      const response = await send(options, "POST", path, JSON.stringify(body), signal);
      if (response.status === 200) return readJson(response);
      throw await faultOf(response);
    },
    get: async (bizSeq, signal) => {
      const response = await send(options, "GET", `${path}/${bizSeq}`, "", signal);
      if (response.status === 200) return readJson(response);
      await response.body?.cancel();
      if (response.status === 404) return undefined;
      throw await faultOf(response);
    },
  };
}

async function send(
  { url, clientId, secret, clock }: SignedHttpOptions,
  method: "GET" | "POST",
  path: string,
  body: string,
  signal: AbortSignal,
): Promise<Response> {
  const timestamp = String(clock.nowMs());
  const bodyDigest = createHash("sha256").update(body).digest("hex");
  const signature = createHmac("sha256", secret).update([method, path, timestamp, bodyDigest].join("\n")).digest("hex");
  const headers = { "x-client-id": clientId, "x-timestamp": timestamp, "x-signature": signature };
  const request: RequestInit = method === "GET" ? { headers } : { headers: { ...headers, ...jsonType }, body };
  try {
    return await fetch(url + path, { ...request, method, signal, redirect: "error" });
  } catch (cause) {
    throw new SourceError("UNKNOWN", "no answer", { cause });
  }
}

const jsonType = { "content-type": "application/json" };

async function faultOf(response: Response): Promise<SourceError> {
  await response.body?.cancel().catch(() => {});
  const { status } = response;
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  const known = Number.isInteger(seconds) && seconds >= 0 && seconds <= RETRY_AFTER_SECONDS_MAX;
  const details = known ? { retryAfterMs: seconds * 1_000 } : {};
  if (status === 503) return new SourceError("AWAY", "answered 503", details);
  if (status === 429) return new SourceError("LIMITED", "answered 429", details);
  const refused = status >= 400 && status < 500;
  return new SourceError(refused ? "REFUSED" : "UNKNOWN", `answered ${status}`);
}

async function readJson(response: Response): Promise<unknown> {
  try {
    return JSON.parse(await readText(response));
  } catch (cause) {
    throw new SourceError("UNKNOWN", "an answer that is no JSON", { cause });
  }
}

async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.length;
    if (size > ANSWER_BYTES_MAX) throw new RangeError("the answer is too long");
    chunks.push(chunk);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
}
