import { strict as assert } from "node:assert";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { manualClock } from "@fujie/kit/clock";
import { memoryEphemeral } from "@fujie/kit/ephemeral";
import { DomainError } from "@fujie/kit/errors";
import { type Counting, takeApplicationQuota, takeCaps, takeNetworkQuota } from "./take.ts";

function setUp() {
  const clock = manualClock(Date.UTC(2026, 2, 2, 23));
  const keys: string[] = [];
  const memory = memoryEphemeral({ maxEntries: 100, clock });
  const counting: Counting = {
    clock,
    caps: { applicationRatePerSecond: 2, perIdentifierPerDay: 3, perNetworkPerMinute: 2 },
    ring: { hmac: (_, text) => ({ version: 1, digest: createHmac("sha256", "key").update(text).digest() }) },
    ephemeral: {
      takeToken: (key, bucket) => memory.takeToken(key, bucket),
      increment: (key, expiry) => {
        keys.push(key);
        return memory.increment(key, expiry);
      },
    },
  };
  return { clock, counting, keys };
}

const takeIdentifier = (counting: Counting, identifier: string) =>
  takeCaps(counting, [{ kind: "identifier", identifier }]);

async function refusal(call: Promise<void>): Promise<DomainError | undefined> {
  return call.then(
    () => undefined,
    (error: unknown) => (error instanceof DomainError ? error : assert.fail(String(error))),
  );
}

test("a person's day is capped over all applications, tells when it ends, and begins anew", async () => {
  const { clock, counting, keys } = setUp();
  for (let i = 0; i < 3; i += 1) await takeIdentifier(counting, "11010519491231002X");
  const refused = await refusal(takeIdentifier(counting, "11010519491231002X"));
  assert.deepEqual(
    [refused?.reason, refused?.subject, refused?.retryDelayMs],
    ["QUOTA_EXCEEDED", "identifier", 3_600_000],
  );
  assert.equal(await refusal(takeIdentifier(counting, "440524188001010014")), undefined);
  clock.advance(3_600_000);
  assert.equal(await refusal(takeIdentifier(counting, "11010519491231002X")), undefined);
  assert.ok(keys.every((key) => !key.includes("11010519491231002X")));
});

test("an application's pace is its policy's, or the platform's where that names none", async () => {
  const { clock, counting } = setUp();
  const take = (ratePerSecond: number) =>
    refusal(
      takeApplicationQuota(counting, { applicationId: `application-${ratePerSecond}`, ratePerSecond, dailyLimit: 0 }),
    );
  assert.deepEqual([await take(0), await take(0)], [undefined, undefined]);
  assert.equal((await take(0))?.reason, "QUOTA_EXCEEDED");
  assert.equal(await take(1), undefined);
  assert.equal((await take(1))?.subject, "application");
  clock.advance(1_000);
  assert.equal(await take(1), undefined);
});

test("NI-28d what a source caps itself is refused here first: a card's fifth question in 24 hours, whoever holds it", async () => {
  const { clock, counting, keys } = setUp();
  const cap = { kind: "bank-card", identifier: "6212345678901232", perDayMax: 4 } as const;
  for (let i = 0; i < 4; i += 1) await takeCaps(counting, [cap]);
  clock.advance(2 * 3_600_000);
  const refused = await refusal(takeCaps(counting, [cap]));
  assert.deepEqual([refused?.reason, refused?.subject], ["QUOTA_EXCEEDED", "bank-card"]);
  clock.advance(22 * 3_600_000);
  assert.equal(await refusal(takeCaps(counting, [cap])), undefined);
  assert.ok(keys.every((key) => !key.includes(cap.identifier)));
});

test("a network's minute is capped over all applications, under a keyed digest, and begins anew", async () => {
  const { clock, counting, keys } = setUp();
  const take = (network: string | undefined) => refusal(takeNetworkQuota(counting, network));
  assert.deepEqual([await take("203.0.113.0/24"), await take("203.0.113.0/24")], [undefined, undefined]);
  const refused = await take("203.0.113.0/24");
  assert.deepEqual([refused?.reason, refused?.subject, refused?.retryDelayMs], ["QUOTA_EXCEEDED", "network", 60_000]);
  assert.equal(await take("2001:db8:1::/48"), undefined);
  const unknown = [await take(undefined), await take(undefined), await take(undefined)];
  assert.deepEqual(
    unknown.map((error) => error?.subject),
    [undefined, undefined, "network"],
  );
  clock.advance(60_000);
  assert.equal(await take("203.0.113.0/24"), undefined);
  assert.ok(keys.every((key) => !key.includes("203.0.113")));
});
