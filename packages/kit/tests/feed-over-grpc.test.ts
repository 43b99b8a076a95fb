import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { connectPeer } from "../src/clients/index.ts";
import { systemClock } from "../src/clock/index.ts";
import { transaction } from "../src/db/index.ts";
import { ephemeralFollow, feedService, feedVerifier, followFeed, publish, purgeFeed } from "../src/feed/index.ts";
import { loadKeyBundle, openFileKeyRing, provisionKeys } from "../src/keys/index.ts";
import { caller, handler } from "../src/serve/index.ts";
import { createLocalCa, loadIdentity } from "../src/tls/index.ts";
import { openKitDatabase, silentLog, until } from "./kit-database.ts";
import { loopback, startProbe } from "./probe-server.ts";

test("a feed crosses services by mutual TLS, signed by the bundle's keys, and survives the server's restart", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "fujie-feed-"));
  t.after(() => rm(dir, { recursive: true }));
  const keys = provisionKeys({ rootDir: join(dir, "keys"), services: ["auth", "registry"] });
  const ring = openFileKeyRing(join(dir, "keys", "registry"), { service: "registry" });
  const bundle = loadKeyBundle(keys.bundleFile, keys.bundleRootFile);
  const authority = await createLocalCa(join(dir, "ca"));
  const identityOf = async (service: string) =>
    loadIdentity(await authority.issueService(service, { hosts: ["127.0.0.1"] }));
  const applying = {
    "0001-applied.sql": `CREATE TABLE applied (n serial PRIMARY KEY, event text);
      GRANT SELECT, INSERT ON applied TO :"runtime_role"; GRANT USAGE ON SEQUENCE applied_n_seq TO :"runtime_role"`,
  };
  const { db } = await openKitDatabase(t, applying, { alone: true });
  const put = (name: string) =>
    transaction(db, (tx) =>
      publish(tx, "registry.accounts", create(AnySchema, { typeUrl: "type.test/x", value: Buffer.from(name) })),
    );
  const applied = async () => {
    const { rows } = await db.query<{ event: string }>("SELECT event FROM applied ORDER BY n");
    return rows.map((row) => row.event).join(" ");
  };

  const start = async (port: number) => {
    const feed = feedService({
      db,
      topics: { "registry.accounts": { peers: ["auth"] } },
      ring,
      peerOf: (call) => caller(call).peer,
      clock: systemClock,
      log: silentLog,
    });
    const grpc = { address: { ...loopback, port }, tls: await identityOf("registry") };
    const probe = await startProbe({ service: "registry", grpc, handlers: [handler(FeedService, feed.impl)] });
    const stack = new AsyncDisposableStack();
    stack.use(probe);
    stack.use(feed);
    return { port: probe.server.grpcPort, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  };

  await using first = await start(0);
  const target = `127.0.0.1:${first.port}`;
  using toRegistry = connectPeer({ target, service: "registry", identity: await identityOf("auth") });
  using asAudit = connectPeer({ target, service: "registry", identity: await identityOf("audit") });
  const denied = asAudit(FeedService).watch({ topic: "registry.accounts", resumeToken: "" })[Symbol.asyncIterator]();
  await assert.rejects(denied.next(), /PEER_FORBIDDEN/);

  let freshAtMs = 0;
  let resets = 0;
  const follow = () =>
    followFeed({
      client: toRegistry(FeedService),
      topic: "registry.accounts",
      db,
      verifier: feedVerifier(bundle, "registry"),
      clock: systemClock,
      log: silentLog,
      onFresh: (atMs) => {
        freshAtMs = atMs;
      },
      reset: async () => {
        resets += 1;
      },
      apply: async (tx, { value }) => {
        await tx.query({ text: "INSERT INTO applied (event) VALUES ($1)", values: [Buffer.from(value).toString()] });
      },
    });
  await using follower = follow();
  await put("a");
  await put("b");
  await until(async () => (await applied()) === "a b" && freshAtMs > 0, "events and a heartbeat");

  await using wrongService = ephemeralFollow({
    client: toRegistry(FeedService),
    topic: "registry.accounts",
    verifier: feedVerifier(bundle, "auth"),
    log: silentLog,
    apply: () => assert.fail("nothing signed by another service is applied"),
  });
  await until(() => wrongService.state() === "halted", "halted by another service's key");

  await first[Symbol.asyncDispose]();
  await put("c");
  await using _second = await start(first.port);
  await until(async () => (await applied()) === "a b c", "the rest after the restart");
  await follower[Symbol.asyncDispose]();

  await put("d");
  await put("e");
  await purgeFeed(db, "registry.accounts", systemClock.nowMs() + 60_000, 4);
  await using _again = follow();
  await until(async () => (await applied()) === "a b c e", "a new start after the gap");
  assert.equal(resets, 1);
});
