import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { IdentityService } from "@fujie/api/fujie/auth/v1/identity";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { accessCases, runAccessCase } from "@fujie/kit/access-suite";
import { openFileKeyRing } from "@fujie/kit/keys";
import { credentials } from "@grpc/grpc-js";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;

before(async () => {
  platform = await startPlatform();
});
after(() => platform[Symbol.asyncDispose]());

const cases = accessCases([CredentialService, IdentityService, FeedService], {
  publicMethods: ["fujie.auth.v1.CredentialService/BindPassword", "fujie.auth.v1.CredentialService/IssueClientSecret"],
});

for (const each of cases) {
  test(each.title, async () => {
    await runAccessCase(
      {
        address: platform.grpcAddress,
        channelCredentials: credentials.createSsl(readFileSync(platform.caFile)),
        mintToken,
      },
      each,
    );
  });
}

test("the access suite covers every method that is not open", () => {
  assert.ok(cases.length >= 8, `${cases.length} cases`);
});

/** A token of auth's own key, about somebody who owns nothing. */
async function mintToken(scopes: readonly string[]): Promise<string> {
  using ring = openFileKeyRing(platform.keysDir, { service: "auth", clock: platform.clock });
  const key = ring.publicKeys().find(({ use }) => use === "token");
  const issuedAt = Math.floor(platform.clock.nowMs() / 1_000);
  const payload = {
    iss: platform.issuer,
    aud: "urn:fujie:api",
    sub: randomUUID(),
    kind: "person",
    level: 1,
    client_id: "fujie-cli",
    scope: scopes.join(" "),
    iat: issuedAt,
    exp: issuedAt + 300,
  };
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode({ alg: "ES256", typ: "at+jwt", kid: key?.keyId })}.${encode(payload)}`;
  const { signature } = await ring.sign("token", Buffer.from(signed));
  return `${signed}.${Buffer.from(signature).toString("base64url")}`;
}
