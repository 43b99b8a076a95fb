import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "../clock/index.ts";
import { DomainError, fieldError } from "../errors/index.ts";
import type { KeyRing } from "../keys/index.ts";
import { type Database, statement, type Transaction } from "./database.ts";

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
}

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
  const expiresAtMs = options.clock.nowMs() + (options.keepMs ?? 86_400_000);

  const inserted = await tx.query(insertRequest(...key, keys.hmac("request-digest", content).digest, expiresAtMs));
  if (inserted.rowCount === 0) return replay(tx, key, content, options);

  const response = await run();
  const sealed =
    options.shownOnce === true ? null : keys.seal("response", aadOf(key), toBinary(responseSchema, response));
  await tx.query(finishRequest(...key, sealed));
  return response;
}

async function replay<Request extends DescMessage, Response extends DescMessage>(
  tx: Transaction,
  key: readonly [string, string, string],
  content: Uint8Array,
  { keys, responseSchema }: OnceOptions<Request, Response>,
): Promise<MessageShape<Response>> {
  const stored = (await tx.query<StoredRequest>(findRequest(...key))).rows[0];
  // Purged between the two statements, or kept by a caller that swallowed the error of `run`.
  if (stored?.finished !== true) throw new DomainError("DEPENDENCY_UNAVAILABLE", { subject: "request" });
  if (!keys.hmacMatches("request-digest", content, stored.digest)) {
    throw fieldError("REQUEST_ID_REUSED", "request_id", "was used before with other contents");
  }
  if (stored.response === null) throw new DomainError("SECRET_ALREADY_SHOWN");
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
