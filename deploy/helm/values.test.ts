import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readValues, renderChartReadme } from "../../scripts/pages/chart.ts";
import { chart, helmTemplate } from "./render.ts";

const sound = { database: { secret: "a", ownerSecret: "b" }, keysSecret: "k", tls: { secret: "t" } };
const problems: Readonly<Record<string, { readonly values: object; readonly lines: readonly string[] }>> = {
  "what is in clear text": {
    values: { issuer: "http://id.example", jwksUrl: "http://id.example/jwks", settings: { FUJIE_HTTP_TLS: "false" } },
    lines: [
      "issuer must be https: tokens in clear text are refused",
      "jwksUrl must be https",
      "settings.FUJIE_HTTP_TLS must not be set: nothing is served in clear text beyond loopback",
    ],
  },
  "what is missing, and what the database's owner may not be": {
    values: {
      issuer: "",
      keyBundle: { secret: "" },
      redis: { secret: "" },
      defaults: { replicas: 1 },
      networkPolicy: { postgres: { to: [] } },
      otlp: { endpoint: "https://collector:4317" },
      services: {
        audit: { database: { secret: "" }, keyDatabase: { ownerSecret: "" }, tls: { secret: "" } },
        auth: { database: { ownerSecret: "" }, keysSecret: "" },
        registry: { database: { ownerSecret: "fujie-registry-database" }, replicas: 2 },
      },
    },
    lines: [
      "issuer is missing: the OpenID provider's public address",
      "keyBundle.secret is missing",
      "networkPolicy.postgres.to is empty: say where PostgreSQL is",
      "networkPolicy.otlp.to is empty: say where the collector is",
      "services.audit.database.secret is missing",
      "services.audit.keyDatabase.ownerSecret is missing",
      "services.audit.tls.secret is missing: name a Secret or enable certManager",
      "services.auth.database.ownerSecret is missing",
      "services.auth.keysSecret is missing",
      "services.registry.database names the same Secret and key for the runtime role and the owner",
      "redis.secret is missing: registry has more than one replica",
    ],
  },
  "what belongs elsewhere": {
    values: {
      image: { tag: "latest" },
      networkPolicy: { redis: { to: [] } },
      settings: { FUJIE_ENVIRONMENT: "sandbox" },
      services: {
        auth: { resources: { limits: { memory: "0.5G" } }, secretFiles: { keys: "other" }, image: { tag: "latest" } },
        audit: {
          settings: { FUJIE_DATABASE_URL: "postgres://a:b@c/d", FUJIE_KEY_DATABASE_URL: "postgres://a:b@c/d" },
          keyDatabase: { secret: "fujie-audit-database" },
        },
        registry: { keyDatabase: { secret: "a", key: "url", ownerSecret: "b", ownerKey: "url" } },
      },
    },
    lines: [
      "image.tag must not be latest: name a release",
      "networkPolicy.redis.to is empty: say where Redis is",
      "settings.FUJIE_ENVIRONMENT must not be set: the chart makes it from other values",
      "services.audit.keyDatabase is the service's own database: keys must not be in its backups",
      "services.audit.settings.FUJIE_DATABASE_URL must not be set: a credential belongs in a Secret",
      "services.audit.settings.FUJIE_KEY_DATABASE_URL must not be set: a credential belongs in a Secret",
      "services.auth.image.tag must not be latest: name a release",
      "services.auth.resources.limits.memory must be in whole Mi or Gi: the heap is cut to it",
      "services.auth.secretFiles.keys is a name that the chart uses",
      "services.registry.keyDatabase is not for this service: audit keeps keys apart",
    ],
  },
  "a sandbox of many": {
    values: {
      environment: "sandbox",
      defaults: { replicas: 1 },
      services: { auth: { replicas: 2 }, registry: { autoscaling: { enabled: true } } },
    },
    lines: [
      "services.auth.replicas must be 1, without autoscaling, in the sandbox",
      "services.registry.replicas must be 1, without autoscaling, in the sandbox",
    ],
  },
  "certificates that come too late, from nobody": {
    values: { certManager: { enabled: true }, migrations: { mode: "hook" }, services: { auth: sound } },
    lines: [
      "certManager.issuerRef.name is missing",
      "migrations.mode hook would wait for certificates that come after it: use job with certManager.enabled",
      "certManager.enabled, but the cluster does not know cert-manager.io/v1: install it, or set certManager.render to always",
    ],
  },
};

test("values that cannot be right are refused, all at once and by name, and no others", async () => {
  const results = await Promise.all(
    Object.entries(problems).map(async ([name, { values, lines }]) => ({
      name,
      lines,
      ...(await helmTemplate({ values })),
    })),
  );
  for (const { name, lines, ok, output } of results) {
    assert.equal(ok, false, name);
    const [, listed = ""] = /The values are wrong:\n((?: {2}.*\n)+)/.exec(output) ?? [];
    const said = listed.split("\n").filter((line) => line !== "");
    assert.deepEqual(
      said,
      lines.map((line) => `  ${line}`),
      `${name}: ${output}`,
    );
  }
});

test("the schema refuses values that do not exist or have another form, and leaves a parent chart's globals alone", async () => {
  const { ok, output } = await helmTemplate({
    values: {
      environment: "staging",
      replicaCount: 3,
      settings: { FUJIE_DATABASE_POOL_MAX: 40, LOG_LEVEL: "warn" },
      services: { billing: {}, auth: { image: { digest: "sha256:1" } } },
      global: { ofTheParentChart: true },
    },
  });
  assert.equal(ok, false);
  for (const place of [
    "'/environment'",
    "'replicaCount'",
    "'/settings/FUJIE_DATABASE_POOL_MAX'",
    "'LOG_LEVEL'",
    "'billing'",
    "'/services/auth/image/digest'",
  ]) {
    assert.ok(output.includes(place), `${place}: ${output}`);
  }
  assert.doesNotMatch(output, /global|ofTheParentChart/);
});

test("without values everything that is missing is said at once", async () => {
  const { ok, output } = await helmTemplate({ bare: true });
  assert.equal(ok, false);
  for (const line of ["issuer is missing", "keyBundle.secret is missing", "services.audit.tls.secret is missing"]) {
    assert.ok(output.includes(line), output);
  }
});

test("every value is described and is a row of the README", () => {
  const values = readValues();
  assert.deepEqual(
    values.filter(({ description }) => description === undefined),
    [],
  );
  const paths = new Set(values.map(({ path }) => path));
  for (const path of [
    "issuer",
    "networkPolicy.postgres.port",
    "defaults.database.ownerSecret",
    "services.trust-gateway",
  ]) {
    assert.ok(paths.has(path), path);
  }
  assert.equal(readFileSync(join(chart, "README.md"), "utf8"), renderChartReadme());
});
