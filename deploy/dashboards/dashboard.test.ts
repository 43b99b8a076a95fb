import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parse } from "yaml";
import { connectPeer } from "../../packages/kit/src/clients/index.ts";
import { systemClock } from "../../packages/kit/src/clock/index.ts";
import { openDatabase } from "../../packages/kit/src/db/index.ts";
import { memoryEphemeral } from "../../packages/kit/src/ephemeral/index.ts";
import { startRelay } from "../../packages/kit/src/outbox/index.ts";
import { startTelemetry } from "../../packages/kit/src/telemetry/index.ts";
import { systemTimers } from "../../packages/kit/src/timers/index.ts";
import { ProbeService } from "../../packages/kit/tests/gen/fujie/testing/v1/testing_pb.js";
import { openKitDatabase, silentLog } from "../../packages/kit/tests/kit-database.ts";
import { startProbe } from "../../packages/kit/tests/probe-server.ts";
import { root } from "../../scripts/testing/programs.ts";
import { guardSource } from "../../services/trust-gateway/src/sources/guard.ts";
import { meterSource } from "../../services/trust-gateway/src/sources/meter.ts";
import { NO_LIMITS } from "../../services/trust-gateway/src/sources/quota.ts";
import { type Prometheus, startPrometheus } from "./prometheus.ts";

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string }[];
}

const { panels } = JSON.parse(readFileSync(join(root, "deploy/dashboards/fujie.json"), "utf8")) as { panels: Panel[] };
const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));

/** Grafana's variables with what it would put there. */
function filled(expression: string): string {
  return expression
    .replaceAll("$namespace", ".*")
    .replaceAll("$job", "fujie-.+")
    .replaceAll("$method", ".*")
    .replaceAll("$__rate_interval", "1m");
}

let prometheus: Prometheus;
const resources = new AsyncDisposableStack();
const cleanups: (() => Promise<void>)[] = [];

// One real server of the kit with all that a service has: calls of every outcome, a database that also fails, a relay.
before(async () => {
  const telemetry = startTelemetry({ service: "probe", environment: "sandbox", traceRatio: 0 });
  resources.use(telemetry);
  const { runtimeUrl } = await openKitDatabase({ after: (fn) => cleanups.push(fn) });
  const db = resources.use(openDatabase({ url: runtimeUrl, poolMax: 2, service: "probe", telemetry }));
  const options = { db, batchMax: 8, clock: systemClock, log: silentLog, telemetry };
  resources.use(startRelay({ ...options, destinations: { audit: async () => {} } }));
  const probe = resources.use(await startProbe({ telemetry }));
  const target = `ipv4:127.0.0.1:${probe.server.grpcPort}`;
  const peer = resources.use(connectPeer({ target, service: "probe", telemetry }));
  const source = resources.use(meterSource(guardedSource(), telemetry));
  const labels = { job: "fujie-probe", namespace: "identity", pod: "probe-1" };
  prometheus = resources.use(await startPrometheus(`127.0.0.1:${probe.server.adminPort}`, labels));

  const work = async () => {
    const client = peer(ProbeService);
    await client.echo({ text: "a" });
    await source.ask(
      { bizSeq: "0".repeat(32), nonce: new Uint8Array(32), purpose: "test", askedAtMs: 0, claim },
      { tenant: "application-1", weight: 1, priority: "interactive", mayBePaid: false },
    );
    for (const reason of ["UNEXPECTED", "RATE_LIMITED", "TOKEN_INVALID", "SCOPE_MISSING"]) {
      await assert.rejects(client.fail({ reason }));
    }
    await db.query({ name: "probe.one", text: "SELECT 1" });
    await assert.rejects(db.query({ name: "probe.zero", text: "SELECT 1 / 0" }));
  };
  await work();
  // Rates need two readings, with something between them.
  await prometheus.query("rpc_server_call_duration_seconds_count");
  await work();
  await prometheus.query("sum(rate(rpc_server_call_duration_seconds_count[1m])) > 0");
});

const claim = { type: "LEGAL_PERSON", uscc: "91350100M000100Y43", organisationName: "test" } as const;

/** A trust source that always answers, under the gateway's own guard. */
function guardedSource() {
  const answer = { verdict: "MATCH", level: 2, checkedAtMs: 0 } as const;
  return guardSource(
    {
      id: "legal-person-base",
      kind: "legal-person-base",
      claimTypes: [claim.type],
      level: 2,
      priceFen: 1,
      usualLatencyMs: 1,
      check: async () => answer,
      findOutcome: async () => answer,
      wasAnswered: async () => true,
      [Symbol.dispose]: () => {},
    },
    {
      clock: systemClock,
      timers: systemTimers,
      log: { warn: () => {} },
      stopping: new AbortController().signal,
      ephemeral: memoryEphemeral({ maxEntries: 1, clock: systemClock }),
      terms: async () => NO_LIMITS,
      limits: {
        concurrencyMax: 1,
        queueMax: 1,
        timeoutMs: 1_000,
        attemptsMax: 1,
        retryBaseMs: 1,
        breakerWindowMs: 1_000,
        breakerCallsMin: 1,
        breakMs: 1_000,
      },
    },
  );
}

after(async () => {
  await resources.disposeAsync();
  for (const cleanup of cleanups.reverse()) await cleanup();
});

test("every panel shows something of a service that runs", async () => {
  assert.ok(queries.length >= 20);
  for (const { title, expr } of queries) {
    const samples = await prometheus.query(filled(expr));
    assert.ok(samples.length > 0, `${title}: nothing comes of ${expr}`);
    assert.ok(
      samples.some(({ value }) => Number.isFinite(value)),
      `${title}: no number comes of ${expr}`,
    );
    assert.ok(
      samples.every(({ metric }) => Object.keys(metric).length > 0),
      `${title}: no labels to tell lines apart`,
    );
  }
});

test("every metric and label that the alerts ask for is one that a service exports", async () => {
  const { groups } = parse(readFileSync(join(root, "deploy/alerts/fujie.yaml"), "utf8")) as {
    groups: { rules: { record?: string; expr: string }[] }[];
  };
  const rules = groups.flatMap(({ rules }) => rules);
  const recorded = new Set(rules.map(({ record }) => record));
  // Of kube-state-metrics; nothing within a pod can know whether the kubelet finds it ready.
  const foreign = new Set(["kube_pod_status_ready"]);
  const words =
    /\b(?:sum|max|by|on|and|or|absent|rate|avg_over_time|group_left)\b|"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\(([a-z_, ]+)\)/g;
  const asked = new Set(rules.flatMap(({ expr }) => expr.replaceAll(words, "").match(/[a-z][\w:]{5,}/g) ?? []));
  assert.ok(asked.size >= 5);
  for (const name of asked) {
    if (recorded.has(name) || foreign.has(name)) continue;
    assert.ok((await prometheus.query(name)).length > 0, `${name} is not exported`);
  }
  const codes = "UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE";
  const failing = `rpc_server_call_duration_seconds_count{job=~"fujie-.+", rpc_response_status_code=~"${codes}"}`;
  assert.ok((await prometheus.query(failing)).length > 0);
});
