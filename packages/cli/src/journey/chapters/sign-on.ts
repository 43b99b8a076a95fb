/** Chapter 5: single sign-on. The clerk signs in through the OpenID provider; a resource checks the token by JWKS. */
import { createRemoteJWKSet, jwtVerify } from "jose";
import type { Tokens } from "../../sign-in/sign-in.ts";
import { expectThat } from "../expect.ts";
import { type Account, type Stage, signInPerson } from "../stage.ts";

export async function playSignOn(stage: Stage, clerk: Account, organisationId: string): Promise<Tokens> {
  const { narrator, platform } = stage;
  narrator.asks("the clerk", "login name and password, authorization code with PKCE, for the organisation");
  const tokens = await signInPerson(stage, clerk, organisationId);
  const discovery = (await (await fetch(`${platform.issuer}/.well-known/openid-configuration`)).json()) as {
    jwks_uri: string;
  };
  const { payload, protectedHeader } = await jwtVerify(
    tokens.accessToken,
    createRemoteJWKSet(new URL(discovery.jwks_uri)),
    { issuer: platform.issuer, audience: "urn:fujie:api", typ: "at+jwt" },
  );
  expectThat(payload["org"] === organisationId && payload["role"] === "CLERK", "the token names organisation and role");
  const lifeSeconds = (payload.exp ?? 0) - (payload.iat ?? 0);
  expectThat(lifeSeconds > 0 && lifeSeconds <= 300, "the token lives five minutes at most");
  narrator.answers("auth", `an access token for the organisation, role ${payload["role"]}, ${lifeSeconds} s`);
  narrator.proof(`a resource of its own verified it from JWKS: ${protectedHeader.alg}, key ${protectedHeader.kid}`);
  return tokens;
}
