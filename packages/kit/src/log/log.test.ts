import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack, EmptySchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { type Context, type ContextManager, context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { Colour, InnerSchema, OuterSchema } from "../../tests/gen/fujie/testing/redaction/v1/redaction_pb.js";
import { DomainError, fieldError } from "../errors/index.ts";
import { createLogger, loggableError, redact } from "./index.ts";

const manager: ContextManager = new AsyncLocalStorageContextManager().enable();
context.setGlobalContextManager(manager);

function captureLog(level: "debug" | "info" = "info") {
  const lines: string[] = [];
  const log = createLogger({ service: "auth", level, destination: { write: (line) => void lines.push(line) } });
  const entries = (): readonly Record<string, unknown>[] => lines.map((line) => JSON.parse(line));
  return { log, entries, text: () => lines.join("") };
}

test("a line is one JSON object with its service, level, time and message", () => {
  const { log, entries } = captureLog();
  log.debug("below the level");
  log.info({ count: 3, size: 5n }, "things happened");
  const [line, ...others] = entries();
  assert.deepEqual(others, []);
  assert.ok(line);
  assert.match(String(line["time"]), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(
    { ...line, time: "" },
    { level: "info", time: "", service: "auth", count: 3, size: "5", message: "things happened" },
  );
});

test("a line carries the ids of the active trace", () => {
  const { log, entries } = captureLog();
  const spanContext = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 0 };
  const active: Context = trace.setSpanContext(ROOT_CONTEXT, spanContext);
  context.with(active, () => log.info("inside"));
  log.info("outside");
  assert.deepEqual(
    entries().map((line) => [line["trace_id"], line["span_id"]]),
    [
      [spanContext.traceId, spanContext.spanId],
      [undefined, undefined],
    ],
  );
});

test("messages of errors that are not ours never reach the log, however the error is logged", () => {
  const { log, text, entries } = captureLog();
  const error = Object.assign(new Error("Key (citizen_id)=(CANARY) exists\n    at CANARY (/srv/x.ts:1:1)"), {
    code: "23505",
    detail: "CANARY",
    cause: new TypeError("inner CANARY"),
  });
  log.error(error);
  log.error(error, "with a message");
  log.error({ error }, "as a field");
  log.error({ error });
  log.error({ err: error, inner: { deeper: [error] } }, "elsewhere");
  log.child({ error }).child({ request: error }).error("in a child");
  log.error("text %s %o %j", error, error, { error });
  assert.equal(entries().length, 7);
  assert.doesNotMatch(text(), /CANARY/);
  assert.match(text(), /"code":"23505"/);
  assert.match(text(), /"request":\{"name":"Error"/);
  assert.match(text(), /log\.test\.ts/);
});

test("a DomainError is logged by its reason and fields, without descriptions", () => {
  const shown = loggableError(fieldError("CITIZEN_ID_INVALID", "person.citizen_id", "CANARY is wrong"));
  assert.equal(shown.reason, "CITIZEN_ID_INVALID");
  assert.deepEqual(shown.fields, ["person.citizen_id"]);
  assert.doesNotMatch(JSON.stringify(shown), /CANARY/);
  assert.deepEqual(Object.keys(loggableError(new DomainError("INTERNAL"))), ["name", "reason", "stack"]);
});

test("errors with odd names, codes, stacks and endless causes stay harmless", () => {
  const endless = new Error("CANARY");
  endless.cause = endless;
  const odd = Object.assign(new Error("before"), { name: "CANARY has spaces", code: "CANARY 1" });
  odd.message = "changed afterwards";
  const stackless = Object.assign(new Error(""), { stack: undefined });
  for (const error of [endless, odd, stackless, "CANARY thrown text", { message: "CANARY" }]) {
    assert.doesNotMatch(JSON.stringify(loggableError(error)), /CANARY/);
  }
});

test("an API message that is logged by mistake shows its type only", () => {
  const { log, text, entries } = captureLog();
  const message = create(OuterSchema, { citizenId: "CANARY", id: "CANARY" });
  log.info(
    { request: message, nested: { list: [message] }, bytes: Buffer.from("CANARY"), map: new Map([["CANARY", 1]]) },
    "oops",
  );
  assert.doesNotMatch(text(), /CANARY/);
  assert.equal(entries()[0]?.["request"], "[fujie.testing.redaction.v1.Outer]");
});

test("redaction shows public fields of every kind, and of nested messages only their public ones", () => {
  const inner = { id: "inner-1", name: "CANARY", child: { id: "inner-2", name: "CANARY" } };
  const shownInner = { id: "inner-1", name: "[redacted]", child: { id: "inner-2", name: "[redacted]" } };
  const message = create(OuterSchema, {
    id: "outer-1",
    count: 12n,
    digest: Buffer.from("abc"),
    colour: Colour.RED,
    inner,
    inners: [inner, {}],
    colours: [Colour.RED, Colour.UNSPECIFIED],
    innerById: { a: inner },
    contact: { case: "channel", value: "counter" },
    time: create(TimestampSchema, { seconds: 1_767_225_600n }),
    duration: { seconds: 2n, nanos: 500_000_000 },
  });
  assert.deepEqual(redact(OuterSchema, message), {
    id: "outer-1",
    count: "12",
    digest: "YWJj",
    colour: "COLOUR_RED",
    inner: shownInner,
    inners: [shownInner, {}],
    colours: ["COLOUR_RED", "COLOUR_UNSPECIFIED"],
    inner_by_id: { a: shownInner },
    channel: "counter",
    time: "2026-01-01T00:00:00.000Z",
    duration: "2500 ms",
  });
});

test("redaction hides undeclared, personal, sensitive and secret fields of every kind, Any and Struct", () => {
  const message = create(OuterSchema, {
    undeclared: "CANARY",
    level: 471_147,
    citizenId: "CANARY",
    password: "CANARY",
    hiddenInner: { id: "CANARY" },
    undeclaredInner: { id: "CANARY" },
    names: ["CANARY", "CANARY"],
    secretById: { CANARY: "CANARY" },
    contact: { case: "phone", value: "CANARY" },
    any: anyPack(InnerSchema, create(InnerSchema, { id: "CANARY" })),
    anys: [anyPack(EmptySchema, create(EmptySchema))],
    struct: { CANARY: "CANARY" },
  });
  const shown = redact(OuterSchema, message);
  assert.deepEqual(shown, {
    undeclared: "[redacted]",
    level: "[redacted]",
    citizen_id: "[redacted]",
    password: "[redacted]",
    hidden_inner: "[redacted]",
    undeclared_inner: "[redacted]",
    names: "[redacted]",
    secret_by_id: "[redacted]",
    phone: "[redacted]",
    any: "[redacted]",
    anys: ["[redacted]"],
    struct: "[redacted]",
  });
});

test("redaction drops fields that the schema does not know, and survives unknown enum numbers and impossible times", () => {
  const outer = create(OuterSchema, { inner: { id: "x" }, citizenId: "CANARY", names: ["CANARY"] });
  // The same bytes under a smaller schema: everything but field 1 to 3 is unknown there.
  const smaller = fromBinary(InnerSchema, toBinary(OuterSchema, create(OuterSchema, { citizenId: "CANARY" })));
  assert.deepEqual(redact(InnerSchema, smaller), {});
  // Field 8 as the varint 7.
  const odd = fromBinary(OuterSchema, Uint8Array.of(0x40, 7));
  odd.time = create(TimestampSchema, { seconds: 9_000_000_000_000_000n });
  assert.deepEqual(redact(OuterSchema, odd), { colour: 7, time: "[redacted]" });
  assert.doesNotMatch(JSON.stringify(redact(OuterSchema, outer)), /CANARY/);
});
