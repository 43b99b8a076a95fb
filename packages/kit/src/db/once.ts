import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "../clock/index.ts";
import { DomainError, fieldError } from "../errors/index.ts";
import type { KeyRing } from "../keys/index.ts";
import { type Database, type Queryable, statement, type Transaction } from "./database.ts";

export interface OnceOptions<Request extends DescMessage, Response extends DescMessage> {
  /** Who asks: the subject and client of the token, or the peer. The same id of another caller is another request. */
  readonly caller: string;
  /** The full method name. */
  readonly method: string;
  /** The request's request_id. Empty: the caller does not want repetition to be safe, and `run` simply runs. */
  readonly requestId: string;
  readonly requestSchema: Request;
  readonly request: MessageShape<Request>;
  readonly responseSchema: Response;
  /** For the keyed digest of the request and for sealing the answer. */
  readonly keys: Pick<KeyRing, "hmac" | "hmacMatches" | "seal" | "open">;
  readonly clock: Clock;
  /** How long a repetition is recognised. Default one day. */
  readonly keepMs?: number;
  /** The answer holds a secret that is shown once: it is not kept, and a repetition gets SECRET_ALREADY_SHOWN. */
  readonly shownOnce?: boolean;
  /** The answer holds ids and nothing else: `describeClaim` keeps it as it is, unsealed. */
  readonly idsOnly?: boolean;
}

const KEEP_MS = 86_400_000;
/** Before an answer that is not sealed: nothing that is begins with it. */
const UNSEALED = Buffer.of(0);

interface StoredRequest {
  digest: Buffer;
  response: Buffer | null;
  finished: boolean;
}

// A second one with the same key waits here until the first one's transaction ends.
const insertRequest = statement(
  "kit.request.insert",
  `INSERT INTO kit.request (caller, method, request_id, digest, expires_at_ms) VALUES ($1, $2, $3, $4, $5)
   ON CONFLICT DO NOTHING`,
);
const findRequest = statement(
  "kit.request.find",
  `SELECT digest, response, finished FROM kit.request WHERE caller = $1 AND method = $2 AND request_id = $3`,
);
const finishRequest = statement(
  "kit.request.finish",
  `UPDATE kit.request SET response = $4, finished = true WHERE caller = $1 AND method = $2 AND request_id = $3`,
);
const insertRequests = statement(
  "kit.request.insert-many",
  `INSERT INTO kit.request (caller, method, request_id, digest, response, finished, expires_at_ms)
   SELECT caller, method, request_id, digest, response, true, expires_at_ms
   FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[])
     AS new (caller, method, request_id, digest, response, expires_at_ms)
   ON CONFLICT DO NOTHING RETURNING caller, method, request_id AS "requestId"`,
);
const deleteRequests = statement(
  "kit.request.release",
  `DELETE FROM kit.request WHERE (caller, method, request_id) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))`,
);
const purgeRequestsBatch = statement(
  "kit.request.purge",
  `DELETE FROM kit.request WHERE ctid = ANY (ARRAY(
     SELECT ctid FROM kit.request WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2))`,
);

/**
 * Makes a repeatable write run once per (caller, method, request_id), in the handler's own transaction: the note that
 * it ran commits with what it did. A repetition with the same contents gets the first answer; two at once wait for
 * each other. Call it first in the transaction.
 * @throws DomainError REQUEST_ID_REUSED (same id, other contents), SECRET_ALREADY_SHOWN, and what `run` throws.
 */
export async function once<Request extends DescMessage, Response extends DescMessage>(
  tx: Transaction,
  options: OnceOptions<Request, Response>,
  run: () => Promise<MessageShape<Response>>,
): Promise<MessageShape<Response>> {
  const { caller, method, requestId, responseSchema, keys } = options;
  if (requestId === "") return run();
  const key = [caller, method, requestId] as const;
  const content = toBinary(options.requestSchema, options.request);
  const expiresAtMs = options.clock.nowMs() + (options.keepMs ?? KEEP_MS);

  const inserted = await tx.query(insertRequest(...key, keys.hmac("request-digest", content).digest, expiresAtMs));
  if (inserted.rowCount === 0) return replay(tx, key, content, options);

  const response = await run();
  const sealed =
    options.shownOnce === true ? null : keys.seal("response", aadOf(key), toBinary(responseSchema, response));
  await tx.query(finishRequest(...key, sealed));
  return response;
}

/** A request whose first answer is known before it runs, as one of a batch. */
export interface RequestClaim {
  readonly caller: string;
  readonly method: string;
  readonly requestId: string;
  readonly digest: Buffer;
  readonly response: Buffer;
  readonly expiresAtMs: number;
}

/** For `claimRequests`: the note of the request with its answer. The request_id must not be empty. */
export function describeClaim<Request extends DescMessage, Response extends DescMessage>(
  options: OnceOptions<Request, Response>,
  response: MessageShape<Response>,
): RequestClaim {
  const { caller, method, requestId, keys, idsOnly = false } = options;
  const content = toBinary(options.requestSchema, options.request);
  const answer = toBinary(options.responseSchema, response);
  return {
    caller,
    method,
    requestId,
    digest: keys.hmac("request-digest", content).digest,
    response: idsOnly
      ? Buffer.concat([UNSEALED, answer])
      : keys.seal("response", aadOf([caller, method, requestId]), answer),
    expiresAtMs: options.clock.nowMs() + (options.keepMs ?? KEEP_MS),
  };
}

/**
 * What `once` does for one request, for many in one statement: tells which of them are first. One that is not, or that
 * is in the batch a second time, changes nothing; `replayRequest` then gives the first answer. Waits for transactions
 * that hold the same request, in the same order everywhere, so that no two wait for each other.
 */
export async function claimRequests(
  tx: Transaction,
  claims: readonly RequestClaim[],
): Promise<ReadonlySet<RequestClaim>> {
  if (claims.length === 0) return new Set();
  const byKey = new Map<string, RequestClaim>();
  for (const claim of claims) if (!byKey.has(keyOf(claim))) byKey.set(keyOf(claim), claim);
  const sorted = [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, claim]) => claim);
  const { rows } = await tx.query<{ caller: string; method: string; requestId: string }>(
    insertRequests(
      sorted.map(({ caller }) => caller),
      sorted.map(({ method }) => method),
      sorted.map(({ requestId }) => requestId),
      sorted.map(({ digest }) => digest),
      sorted.map(({ response }) => response),
      sorted.map(({ expiresAtMs }) => expiresAtMs),
    ),
  );
  return new Set(rows.map((row) => byKey.get(keyOf(row))).filter((claim) => claim !== undefined));
}

/** Takes claims back, in the transaction that made them: the requests were refused after all. */
export async function releaseRequests(tx: Transaction, claims: readonly RequestClaim[]): Promise<void> {
  if (claims.length === 0) return;
  await tx.query(
    deleteRequests(
      claims.map(({ caller }) => caller),
      claims.map(({ method }) => method),
      claims.map(({ requestId }) => requestId),
    ),
  );
}

/**
 * The first answer to a request that ran before; undefined when it did not.
 * @throws DomainError REQUEST_ID_REUSED, SECRET_ALREADY_SHOWN
 */
export async function replayRequest<Request extends DescMessage, Response extends DescMessage>(
  db: Queryable,
  options: OnceOptions<Request, Response>,
): Promise<MessageShape<Response> | undefined> {
  const { caller, method, requestId } = options;
  const key = [caller, method, requestId] as const;
  const stored = (await db.query<StoredRequest>(findRequest(...key))).rows[0];
  return stored && readStored(stored, key, toBinary(options.requestSchema, options.request), options);
}

function keyOf({ caller, method, requestId }: Pick<RequestClaim, "caller" | "method" | "requestId">): string {
  return JSON.stringify([caller, method, requestId]);
}

async function replay<Request extends DescMessage, Response extends DescMessage>(
  tx: Transaction,
  key: readonly [string, string, string],
  content: Uint8Array,
  options: OnceOptions<Request, Response>,
): Promise<MessageShape<Response>> {
  const stored = (await tx.query<StoredRequest>(findRequest(...key))).rows[0];
  // Purged between the two statements.
  if (stored === undefined) throw new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "request" });
  return readStored(stored, key, content, options);
}

function readStored<Request extends DescMessage, Response extends DescMessage>(
  stored: StoredRequest,
  key: readonly [string, string, string],
  content: Uint8Array,
  { keys, responseSchema, idsOnly = false }: OnceOptions<Request, Response>,
): MessageShape<Response> {
  // Kept by a caller that swallowed the error of `run`.
  if (!stored.finished) throw new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "request" });
  if (!keys.hmacMatches("request-digest", content, stored.digest)) {
    throw fieldError("REQUEST_ID_REUSED", "request_id", "was used before with other contents");
  }
  if (stored.response === null) throw new DomainError("SECRET_ALREADY_SHOWN");
  if (idsOnly && stored.response[0] === UNSEALED[0]) return fromBinary(responseSchema, stored.response.subarray(1));
  return fromBinary(responseSchema, keys.open("response", aadOf(key), stored.response));
}

/** Removes at most `batchMax` requests whose time is over; returns how many. */
export async function purgeRequests(db: Database, nowMs: number, batchMax: number): Promise<number> {
  return (await db.query(purgeRequestsBatch(nowMs, batchMax))).rowCount;
}

/** A sealed answer opens only for the request that it answers. */
function aadOf(key: readonly [string, string, string]): string {
  return JSON.stringify(["fujie-request-v1", ...key]);
}
