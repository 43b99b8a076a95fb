import { strict as assert } from "node:assert";
import type { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { test } from "node:test";
import { networkOf } from "./network.ts";

function requestFrom(remoteAddress: string, forwardedFor?: string): Pick<IncomingMessage, "headers" | "socket"> {
  const socket = new Socket();
  Object.defineProperty(socket, "remoteAddress", { value: remoteAddress });
  return { headers: forwardedFor === undefined ? {} : { "x-forwarded-for": forwardedFor }, socket };
}

test("a spoofed X-Forwarded-For changes nothing when no proxy is trusted", () => {
  assert.equal(networkOf(requestFrom("192.0.2.1", "198.51.100.9"), 0), "192.0.2.1");
});

test("behind one trusted proxy only the entry that the proxy wrote counts", () => {
  assert.equal(networkOf(requestFrom("10.0.0.1", "203.0.113.66, 192.0.2.1"), 1), "192.0.2.1");
});

test("fewer entries than trusted proxies is an unknown network, not an attacker's choice", () => {
  assert.equal(networkOf(requestFrom("10.0.0.1"), 2), "unknown");
});

test("IPv6 addresses of one /64 are one network, and mapped IPv4 is IPv4", () => {
  assert.equal(networkOf(requestFrom("2001:db8:0:7::1"), 0), networkOf(requestFrom("2001:db8::7:aa:bb:cc:dd"), 0));
  assert.notEqual(networkOf(requestFrom("2001:db8:0:7::1"), 0), networkOf(requestFrom("2001:db8:0:8::1"), 0));
  assert.equal(networkOf(requestFrom("::ffff:192.0.2.1"), 0), "192.0.2.1");
});
