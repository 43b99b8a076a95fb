import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { citizenIdCheckCharacter } from "@fujie/identity";
import { manualClock } from "@fujie/kit/clock";
import { memoryEphemeral } from "@fujie/kit/ephemeral";
import { type Noticing, noticeEnumeration, STEPS_MAX } from "./enumeration.ts";

function setUp() {
  const clock = manualClock(Date.UTC(2026, 2, 2));
  const memory = memoryEphemeral({ maxEntries: 1_000, clock });
  const kept: string[] = [];
  const noticing: Noticing = {
    ring: { hmac: (_, text) => ({ version: 1, digest: createHmac("sha256", "key").update(text).digest() }) },
    ephemeral: {
      get: (key) => memory.get(key),
      set: (key, value, expiry) => {
        kept.push(key, value);
        return memory.set(key, value, expiry);
      },
      setIfAbsent: (key, value, expiry) => memory.setIfAbsent(key, value, expiry),
    },
  };
  const notice = (sequence: number, application = "a", day = "19900307") =>
    noticeEnumeration(noticing, application, citizenId(sequence, day));
  return { clock, notice, kept };
}

function citizenId(sequence: number, day: string): string {
  const first17 = `110105${day}${String(sequence).padStart(3, "0")}`;
  return `${first17}${citizenIdCheckCharacter(first17)}`;
}

test("an application that walks through neighbouring citizen ids is noticed, once per window", async () => {
  const { clock, notice } = setUp();
  const told: boolean[] = [];
  for (let i = 0; i < STEPS_MAX * 3; i += 1) told.push(await notice(100 + i));
  assert.deepEqual([told.indexOf(true), told.lastIndexOf(true)], [STEPS_MAX, STEPS_MAX]);
  clock.advance(10 * 60_000);
  const later: boolean[] = [];
  for (let i = 0; i <= STEPS_MAX; i += 1) later.push(await notice(200 - 2 * i));
  assert.equal(later.at(-1), true);
});

test("repetitions, strangers, far numbers and several applications are no walk; no id and no part of one is kept", async () => {
  const { notice, kept } = setUp();
  const ask = [
    ...Array.from({ length: 20 }, () => notice(7)),
    ...Array.from({ length: 20 }, (_, i) => notice(100 + 3 * i)),
    ...Array.from({ length: 20 }, (_, i) => notice(500 + i, "b", `199003${String(i + 1).padStart(2, "0")}`)),
    ...Array.from({ length: 20 }, (_, i) => notice(300 + i, `application-${i}`)),
  ];
  assert.ok((await Promise.all(ask)).every((told) => !told));
  assert.ok(kept.every((text) => !/\d{8}/.test(text.replace(/[\w-]{43}/, ""))));
  assert.equal(
    await noticeEnumeration(
      {
        ring: { hmac: () => assert.fail() },
        ephemeral: { get: () => assert.fail(), set: () => assert.fail(), setIfAbsent: () => assert.fail() },
      },
      "a",
      "HKG810101000000",
    ),
    false,
  );
});
