import assert from "node:assert/strict";
import { test } from "node:test";
import { isPlatform } from "./peer.ts";

test("only a certificate that names the gateway and no other service is the platform's", () => {
  const platform = "URI:spiffe://fujie/trust-gateway";
  assert.equal(isPlatform({ subjectaltname: platform }), true);
  assert.equal(isPlatform({ subjectaltname: `DNS:gateway, IP Address:127.0.0.1, ${platform}` }), true);
  for (const names of [
    "",
    "DNS:spiffe://fujie/trust-gateway",
    "URI:spiffe://fujie/registry",
    "URI:spiffe://fujie/trust-gateway2",
    `${platform}, URI:spiffe://fujie/registry`,
    `DNS:"x, ${platform}, y"`,
  ]) {
    assert.equal(isPlatform({ subjectaltname: names }), false, names);
  }
  assert.equal(isPlatform(undefined), false);
});
