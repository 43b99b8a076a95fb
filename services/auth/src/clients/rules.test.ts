import { strict as assert } from "node:assert";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { ApplicationKind } from "@fujie/api/fujie/registry/v1/applications";
import { ApplicationChangedSchema } from "@fujie/api/fujie/registry/v1/events";
import { commandLineClient, readApplication, toMetadata } from "./rules.ts";

const change = create(ApplicationChangedSchema, {
  applicationId: "application",
  clientId: "client",
  kind: ApplicationKind.CONFIDENTIAL,
  enabled: true,
  name: "Housing fund",
  redirectUris: ["https://fund.example/callback"],
  scopes: ["openid", "trust.verify", "audit.read", "registry.counter", "made.up"],
  sector: "fund",
});

test("an application never gets operators' scopes, nor any that do not exist, whatever is registered", () => {
  assert.deepEqual(readApplication(change)?.scopes, ["openid", "trust.verify"]);
});

test("a change of unknown kind, or in the name of the platform's own client, is no client", () => {
  assert.equal(readApplication({ ...change, kind: ApplicationKind.UNSPECIFIED }), undefined);
  assert.equal(readApplication({ ...change, clientId: commandLineClient.clientId }), undefined);
  assert.equal(readApplication({ ...change, clientId: "" }), undefined);
});

test("a confidential client authenticates by its secret, a native one is public and has no credentials of its own", () => {
  const confidential = readApplication(change);
  const native = readApplication({ ...change, kind: ApplicationKind.NATIVE });
  assert.ok(confidential && native);
  assert.equal(toMetadata(confidential, "unused").token_endpoint_auth_method, "client_secret_basic");
  const metadata = toMetadata(native, "unused");
  assert.equal(metadata.token_endpoint_auth_method, "none");
  assert.equal(metadata.client_secret, undefined);
  assert.ok(metadata.grant_types?.includes("client_credentials") === false);
});

test("a client without redirect addresses signs nobody in", () => {
  const client = readApplication({ ...change, redirectUris: [] });
  assert.ok(client);
  assert.deepEqual(toMetadata(client, "unused").response_types, []);
  assert.deepEqual(toMetadata(client, "unused").grant_types, ["client_credentials"]);
});
