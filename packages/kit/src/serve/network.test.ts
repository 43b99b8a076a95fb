import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { callerAddress, networkOfAddress, noProxies, readTrustedProxies } from "./network.ts";

test("the network of an address is its /24, or /48 of IPv6, however it is written", () => {
  const networks = {
    "203.0.113.77": "203.0.113.0/24",
    "::ffff:203.0.113.77": "203.0.113.0/24",
    "2001:0DB8:0001:2::7": "2001:db8:1::/48",
    "2001:db8::1": "2001:db8:0::/48",
    "::1": "0:0:0::/48",
    "fe80::1%eth0": "fe80:0:0::/48",
    nonsense: undefined,
    "": undefined,
  };
  for (const [address, network] of Object.entries(networks)) assert.equal(networkOfAddress(address), network, address);
  fc.assert(
    fc.property(fc.ipV6(), fc.ipV4(), (v6, v4) => {
      assert.match(networkOfAddress(v6) ?? "", /^([0-9a-f]{1,4}:){3}:\/48$|\.0\/24$/);
      assert.match(networkOfAddress(v4) ?? "", /\.0\/24$/);
    }),
  );
});

test("only a trusted proxy's word is taken, and of it only the last address that is not a proxy's", () => {
  const proxies = readTrustedProxies("10.0.0.0/8, 2001:db8::/32,192.0.2.9");
  const address = (connected: string, forwarded?: string, trusted = proxies) =>
    callerAddress(connected, forwarded, trusted);
  assert.equal(address("203.0.113.1", "198.51.100.7"), "203.0.113.1");
  assert.equal(address("10.1.2.3", "198.51.100.7"), "198.51.100.7");
  assert.equal(address("::ffff:10.1.2.3", "198.51.100.7"), "198.51.100.7");
  assert.equal(address("10.1.2.3", "1.1.1.1, 198.51.100.7, 192.0.2.9"), "198.51.100.7");
  assert.equal(address("2001:db8::5", "invented, 198.51.100.7"), "198.51.100.7");
  assert.equal(address("10.1.2.3", "198.51.100.7", noProxies), "10.1.2.3");
  // A proxy that says nothing sensible: nobody knows, and what counts by network counts together.
  assert.equal(address("10.1.2.3", "unknown"), undefined);
  assert.equal(address("10.1.2.3", undefined), undefined);
});

test("a wrong network of the settings is named", () => {
  for (const wrong of ["10.0.0.0/33", "10.0.0/8", "::/129", "1.2.3.4/8/8", "1.2.3.4/x", ""]) {
    assert.throws(
      () => readTrustedProxies(`127.0.0.1,${wrong}`),
      (error) => error instanceof RangeError && error.message.includes(`"${wrong}"`),
    );
  }
});
