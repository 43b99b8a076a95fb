import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Event, EventSchema, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { DomainError } from "@fujie/kit/errors";
import { decodeDetails, isSameEvent, narrowEvent } from "./narrow-event.ts";

type EventFields = Exclude<MessageInitShape<typeof EventSchema>, Event>;

const sound: EventFields = {
  eventId: "0198C0DE-0000-7000-8000-00000000000A",
  time: { seconds: 1_700_000_000n, nanos: 123_999_999 },
  type: "session.started",
  outcome: Outcome.REFUSED,
  actor: "operator-1",
  details: { b: "2", a: "1" },
};

const narrow = (changes: EventFields = {}, position = 0) =>
  narrowEvent(create(EventSchema, { ...sound, ...changes }), position, "auth");

test("an event becomes an entry: id in lower case, whole milliseconds, details in one order", () => {
  const { eventId, entry, details, keyOwner } = narrow();
  assert.equal(eventId, "0198c0de-0000-7000-8000-00000000000a");
  assert.equal(entry.timeMs, 1_700_000_000_123);
  assert.deepEqual([entry.service, entry.outcome, keyOwner], ["auth", "REFUSED", "operator-1"]);
  assert.equal(details?.toString(), '[["a","1"],["b","2"]]');
  assert.deepEqual(decodeDetails(details ?? Buffer.of()), { a: "1", b: "2" });
});

test("details belong to the subject, without one to the actor, and else to the service", () => {
  assert.equal(narrow({ subject: "account-1" }).keyOwner, "account-1");
  assert.equal(narrow({ actor: "" }).keyOwner, "auth");
  assert.equal(narrow({ details: {} }).details, undefined);
});

test("an event that cannot be sealed is refused by position and field", () => {
  const refused: [changes: EventFields, field: string][] = [
    [{ eventId: "" }, "event_id"],
    [{ eventId: "0198c0de-0000-4000-8000-00000000000a" }, "event_id"],
    [{ eventId: "0198c0de-0000-7000-c000-00000000000a" }, "event_id"],
    [{ time: { seconds: -1n, nanos: 0 } }, "time"],
    [{ time: { seconds: 253_402_300_800n, nanos: 0 } }, "time"],
    [{ outcome: Outcome.UNSPECIFIED }, "outcome"],
    [{ type: "" }, "type"],
    [{ traceId: "trace" }, "trace_id"],
    [{ traceId: "0123456789ABCDEF0123456789abcdef" }, "trace_id"],
    [{ details: { text: "x".repeat(65_536) } }, "details"],
  ];
  for (const [changes, field] of refused)
    assert.throws(
      () => narrow(changes, 7),
      (error) =>
        error instanceof DomainError &&
        error.reason === "EVENT_INVALID" &&
        error.violations[0]?.field === `events[7].${field}`,
      field,
    );
  const { time: _left, ...timeless } = sound;
  assert.throws(() => narrowEvent(create(EventSchema, timeless), 0, "auth"), /EVENT_INVALID/);
});

test("the same event is the same whatever the order of its details; any difference makes another one", () => {
  assert.ok(isSameEvent(narrow(), narrow({ details: { a: "1", b: "2" } })));
  const others: EventFields[] = [
    { details: { a: "1" } },
    { details: {} },
    { type: "session.ended" },
    { subject: "account-1" },
    { organisationId: "o" },
    { reason: "X" },
    { time: { seconds: 1_700_000_000n, nanos: 0 } },
  ];
  for (const other of others) assert.ok(!isSameEvent(narrow(), narrow(other)));
  assert.ok(!isSameEvent(narrow(), narrowEvent(create(EventSchema, sound), 0, "registry")));
});
