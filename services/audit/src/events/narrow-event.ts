import { type Event, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { type DomainError, fieldError } from "@fujie/kit/errors";
import type { LogEntry } from "@fujie/transparency";

/** An event that may enter the log: everything that its leaf binds, except the digest of the sealed details. */
export interface NarrowEvent {
  readonly eventId: string;
  readonly entry: LogEntry;
  /** Canonical JSON of the details, sorted by key; undefined when there are none. */
  readonly details: Buffer | undefined;
  /** Whose data key seals the details. */
  readonly keyOwner: string;
  /** Roughly what it costs to hold it. */
  readonly bytes: number;
}

/** 9999-12-31T23:59:59.999Z, the last time that a Timestamp may state. */
const TIME_MAX_MS = 253_402_300_799_999;
const DETAILS_BYTES_MAX = 65_536;
const DIGEST_BYTES = 32;

const outcomes: Readonly<Record<Outcome, string | undefined>> = {
  [Outcome.UNSPECIFIED]: undefined,
  [Outcome.SUCCESS]: "SUCCESS",
  [Outcome.REFUSED]: "REFUSED",
  [Outcome.FAILED]: "FAILED",
  [Outcome.PENDING]: "PENDING",
};

/**
 * Narrows an event at a position of its batch, recorded by `service`. The proto's own rules hold already; here is what
 * they cannot say.
 * @throws DomainError EVENT_INVALID naming `events[position].<field>`
 */
export function narrowEvent(event: Event, position: number, service: string): NarrowEvent {
  const invalid = (field: string, problem: string): DomainError =>
    fieldError("EVENT_INVALID", `events[${position}].${field}`, problem);
  const eventId = event.eventId.toLowerCase();
  if (!/^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/.test(eventId))
    throw invalid("event_id", "is not a UUIDv7");
  const timeMs = event.time === undefined ? Number.NaN : Number(event.time.seconds) * 1_000 + millis(event.time.nanos);
  if (!(timeMs >= 0 && timeMs <= TIME_MAX_MS)) throw invalid("time", "is missing, or not between 1970 and 9999");
  const outcome = outcomes[event.outcome];
  if (outcome === undefined) throw invalid("outcome", "is not one that is known");
  if (event.type === "") throw invalid("type", "is empty");
  if (!/^(?:[\da-f]{32})?$/.test(event.traceId)) throw invalid("trace_id", "is not 32 lower-case hexadecimal digits");
  const details = encodeDetails(event.details);
  if (details !== undefined && details.length > DETAILS_BYTES_MAX)
    throw invalid("details", `is larger than ${DETAILS_BYTES_MAX} bytes`);
  if (event.digest.length !== 0 && event.digest.length !== DIGEST_BYTES)
    throw invalid("digest", `is not of ${DIGEST_BYTES} bytes`);
  const { type, actor, subject, applicationId, organisationId, traceId, purpose, reason, digest } = event;
  return {
    eventId,
    entry: {
      timeMs,
      service,
      eventId,
      type,
      outcome,
      actor,
      subject,
      applicationId,
      organisationId,
      traceId,
      purpose,
      reason,
      detailsSha256: new Uint8Array(),
      digest,
    },
    details,
    keyOwner: [subject, actor, service].find((name) => name !== "") ?? service,
    bytes: 512 + (details?.length ?? 0),
  };
}

/** Whether two events of one id are the same event: everything but how their details happen to be sealed. */
export function isSameEvent(a: Pick<NarrowEvent, "entry" | "details">, b: Pick<NarrowEvent, "entry" | "details">) {
  return isSameEntry(a.entry, b.entry) && Buffer.compare(a.details ?? Buffer.of(), b.details ?? Buffer.of()) === 0;
}

/** Whether two entries tell the same, the digest of the sealed details left aside. */
export function isSameEntry(a: LogEntry, b: LogEntry): boolean {
  const told = ({ detailsSha256: _sealed, digest, ...rest }: LogEntry) =>
    JSON.stringify([...Object.entries(rest).sort(), Buffer.from(digest).toString("hex")]);
  return told(a) === told(b);
}

/** The details of their canonical JSON. */
export function decodeDetails(bytes: Uint8Array): Record<string, string> {
  const pairs: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  if (!Array.isArray(pairs)) throw new TypeError("details are not a list of pairs");
  return Object.fromEntries(pairs.map(([key, value]) => [String(key), String(value)]));
}

/** A list of pairs, sorted by key: one spelling for one map. */
function encodeDetails(details: Readonly<Record<string, string>>): Buffer | undefined {
  const pairs = Object.entries(details).sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs.length === 0 ? undefined : Buffer.from(JSON.stringify(pairs), "utf8");
}

function millis(nanos: number): number {
  return Math.floor(nanos / 1_000_000);
}
