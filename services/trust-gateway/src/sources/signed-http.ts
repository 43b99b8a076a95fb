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
import { type Answer, type Check, type Replica, type Source, SourceError, type SourceFacts } from "./source.ts";
import { readSourceUrls } from "./urls.ts";

export interface SignedHttpSettings {
  /** One or several addresses, origins without a trailing slash; each knows what the others answered. */
  readonly urls: readonly string[];
  /** The platform's id at the base. */
  readonly clientId: string;
  readonly secret: KeyObject;
}

/** How one kind of source writes its questions and answers. */
export interface Dialect {
  /** For example "/population/v1": checks are asked for under a noun below, outcomes under "checks". */
  readonly path: string;
  nounOf(claim: Check["claim"]): string;
  /** Throws SourceError REFUSED for a claim that this kind of source does not answer. */
  writeCheck(check: Check): unknown;
  /** Throws SourceError REFUSED for an answer that is none. */
  readAnswer(json: unknown, check: Check, level: number, nowMs: number): Answer;
}

interface Address extends Omit<SignedHttpSettings, "urls"> {
  readonly url: string;
  readonly clock: Clock;
}

/** Throws SourcesFileError. */
export function readSignedHttpSettings(entry: EntryReader): SignedHttpSettings {
  return {
    urls: readSourceUrls(entry),
    clientId: entry.text("clientId", /^[\x21-\x7e]{1,128}$/),
    secret: createSecretKey(entry.file("secretFile", { secret: true })),
  };
}

const ANSWER_BYTES_MAX = 64 * 1024;
const RETRY_AFTER_SECONDS_MAX = 86_400;

/** A source that is asked by signed HTTP at each of its addresses; the source itself asks the first. */
export function openSignedHttpSource(
  facts: SourceFacts,
  { urls, ...account }: SignedHttpSettings,
  { clock }: { readonly clock: Clock },
  dialect: Dialect,
): Source {
  const addresses = urls.map((url): Address => ({ ...account, url, clock }));
  const replicas = addresses.map((address) => openReplica(address, dialect, facts.level));
  const [first, firstAddress] = [replicas[0], addresses[0]];
  if (first === undefined || firstAddress === undefined) throw new RangeError("a source has at least one address");
  return {
    ...facts,
    ...first,
    replicas,
    wasAnswered: async (bizSeq, signal) => (await get(firstAddress, dialect, bizSeq, signal)) !== undefined,
    [Symbol.dispose]: () => {},
  };
}

function openReplica(address: Address, dialect: Dialect, level: number): Replica {
  const read = (json: unknown, check: Check) => dialect.readAnswer(json, check, level, address.clock.nowMs());
  return {
    check: async (check, signal) => read(await post(address, dialect, check, signal), check),
    findOutcome: async (check, signal) => {
      const json = await get(address, dialect, check.bizSeq, signal);
      return json === undefined ? undefined : read(json, check);
    },
  };
}

/** Asks, and returns the JSON of a 200. */
async function post(address: Address, dialect: Dialect, check: Check, signal: AbortSignal): Promise<unknown> {
  const body = JSON.stringify(dialect.writeCheck(check));
  const response = await send(address, "POST", `${dialect.path}/${dialect.nounOf(check.claim)}`, body, signal);
  if (response.status === 200) return readJson(response);
  throw await faultOf(response);
}

/** The JSON that the check was answered with; undefined: it never arrived. */
async function get(address: Address, { path }: Dialect, bizSeq: string, signal: AbortSignal): Promise<unknown> {
  const response = await send(address, "GET", `${path}/checks/${bizSeq}`, "", signal);
  if (response.status === 200) return readJson(response);
  await response.body?.cancel();
  if (response.status === 404) return undefined;
  throw await faultOf(response);
}

async function send(
  { url, clientId, secret, clock }: Address,
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
    throw wasNeverSent(cause)
      ? new SourceError("AWAY", "nobody is there", { cause })
      : new SourceError("UNKNOWN", "no answer", { cause });
  }
}

/** There was no connection, so that nothing can have been answered, or billed. */
function wasNeverSent(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "code" in cause && unconnected.has(cause.code);
}

const unconnected: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENOTFOUND",
  "UND_ERR_CONNECT_TIMEOUT",
]);

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
