import { strict as assert } from "node:assert";
import { test } from "node:test";
import { parseCertificate } from "@fujie/certificates";
import { AT, forgeCa, forgeRoot } from "@fujie/certificates/testing";
import { manualClock } from "@fujie/kit/clock";
import { observeExpiry } from "./expiry.ts";

test("SZ-13.1 operators see when each certificate of the truststore ends, and that it has", () => {
  const root = forgeRoot("ecdsa");
  const issuing = forgeCa(root, "ecdsa", "Issuing");
  const clock = manualClock(AT.getTime());
  const shown: { name: string; read: () => number; attributes: Record<string, string> | undefined }[] = [];
  const removed: string[] = [];
  const observeGauge = (name: string, _: string, read: () => number, attributes?: Record<string, string>) => {
    shown.push({ name, read, attributes });
    return { [Symbol.dispose]: () => void removed.push(name) };
  };
  const profile = { id: "ca-a", anchors: [parseCertificate(root.der)], intermediates: [issuing.der] };
  const observed = observeExpiry([profile], { observeGauge }, clock);
  const seconds = 300 * 86_400;
  assert.deepEqual(
    shown.map(({ name, read, attributes }) => [name, read(), attributes?.["source"]]),
    [
      ["fujie.ca.anchor.expiry", seconds, "ca-a"],
      ["fujie.ca.anchor.expiry", seconds, "ca-a"],
    ],
  );
  assert.equal(new Set(shown.map(({ attributes }) => attributes?.["certificate"])).size, 2);
  clock.advance((seconds + 60) * 1_000);
  assert.equal(shown[0]?.read(), -60);
  observed[Symbol.dispose]();
  assert.equal(removed.length, 2);
});
