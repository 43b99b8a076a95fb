import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { ConfigError } from "../../packages/kit/src/config/index.ts";
import { root } from "../../scripts/testing/programs.ts";
import { calls, isOf, type KubernetesObject, named, ofKind, type Pod, podsOf, render, services } from "./render.ts";
import { type Rendered, renderVariants } from "./variants.ts";

let rendered: Rendered;
before(async () => {
  rendered = await renderVariants();
});

interface Environment {
  readonly variables: Record<string, string>;
  /** Variables that come from a Secret, with "secret/key". */
  readonly secrets: Record<string, string>;
}

function environmentOf(objects: readonly KubernetesObject[], { template }: Pod): Environment {
  const container = template.spec?.containers[0];
  const environment: Environment = { variables: {}, secrets: {} };
  for (const { configMapRef } of container?.envFrom ?? []) {
    Object.assign(environment.variables, named(objects, "ConfigMap", configMapRef?.name ?? "").data);
  }
  for (const { name, value, valueFrom } of container?.env ?? []) {
    if (value !== undefined) environment.variables[name] = value;
    const key = valueFrom?.secretKeyRef;
    if (key !== undefined) environment.secrets[name] = `${key.name}/${key.key}`;
  }
  return environment;
}

const secretValues: Readonly<Record<string, string>> = {
  FUJIE_DATABASE_URL: "postgres://runtime@db/fujie",
  FUJIE_MIGRATION_DATABASE_URL: "postgres://owner@db/fujie",
  FUJIE_KEY_DATABASE_URL: "postgres://runtime@keys/fujie",
  FUJIE_KEY_MIGRATION_DATABASE_URL: "postgres://owner@keys/fujie",
  FUJIE_REDIS_URL: "redis://cache",
};

/** An entry of the gateway's sources file, with its secret in the same mounted Secret. */
function source(folder: string): object {
  return {
    id: "population-base",
    kind: "population-base",
    claimTypes: ["PERSON_TWO_ELEMENT"],
    level: 3,
    priceFen: 50,
    usualLatencyMs: 200,
    url: "https://population.example.gov.cn",
    clientId: "fujie",
    secretFile: join(folder, "sources/sources.json"),
  };
}

type Reader = (env: Record<string, string>) => unknown;

/** The service's own reader of its settings: whatever it calls it, it is the one `read…Config` of its config.ts. */
async function readerOf(service: string): Promise<Reader> {
  const exported: Record<string, unknown> = await import(join(root, "services", service, "src", "config.ts"));
  const reader = Object.entries(exported).find(([name]) => /^read\w*Config$/.test(name))?.[1];
  assert.ok(typeof reader === "function", `${service} exports no reader of its settings`);
  return (env) => reader(env);
}

test("every service reads its environment without a complaint: each setting is a real one with a sound value", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fujie-settings-"));
  try {
    // The files that the pods mount, at the same paths below a folder of ours.
    const files = ["tls/tls.crt", "tls/tls.key", "tls/ca.crt", "keys/ring.json", "bundle/public-keys.json"];
    for (const file of [...files, "bundle/bundle-root.pem", "sources/sources.json", "witnesses/witnesses.json"]) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), "{}", { mode: 0o600 });
    }
    writeFileSync(join(folder, "witnesses/witnesses.json"), "[]");
    writeFileSync(join(folder, "sources/sources.json"), JSON.stringify({ sources: [source(folder)] }));
    for (const service of services) {
      const read = await readerOf(service);
      rendered.onEach((objects, variant) => {
        for (const pod of podsOf(objects).filter(({ labels }) => isOf(labels, service))) {
          const { variables, secrets } = environmentOf(objects, pod);
          const given = Object.keys(secrets).map((name) => [name, secretValues[name] ?? ""]);
          const all: Record<string, string> = { ...variables, ...Object.fromEntries(given) };
          const env = Object.entries(all).map(([name, value]) => [name, value.replace(/^\/etc\/fujie(?=\/)/, folder)]);
          try {
            read(Object.fromEntries(env));
          } catch (error) {
            assert.ok(error instanceof ConfigError, String(error));
            assert.fail(`${variant}: ${pod.owner}: ${error.message}`);
          }
        }
      });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every mounted file that a setting names is on a mounted volume", () => {
  rendered.onEach((objects, variant) => {
    for (const pod of podsOf(objects)) {
      const mounts = pod.template.spec?.containers[0]?.volumeMounts?.map(({ mountPath }) => mountPath) ?? [];
      for (const [name, value] of Object.entries(environmentOf(objects, pod).variables)) {
        if (!value.startsWith("/etc/fujie/")) continue;
        assert.ok(
          mounts.some((mount) => value === mount || value.startsWith(`${mount}/`)),
          `${variant}: ${pod.owner} ${name}`,
        );
      }
    }
  });
});

test("credentials come from existing Secrets: the owner's URL reaches the migration alone", () => {
  for (const pod of podsOf(rendered.objectsOf("production"))) {
    const service = services.find((name) => isOf(pod.labels, name)) ?? "";
    const { variables, secrets } = environmentOf(rendered.objectsOf("production"), pod);
    const migrates = pod.owner.startsWith("Job ");
    assert.deepEqual(secrets, {
      FUJIE_DATABASE_URL: `fujie-${service}-database/url`,
      ...(migrates
        ? { FUJIE_MIGRATION_DATABASE_URL: `fujie-${service}-database-owner/url` }
        : { FUJIE_REDIS_URL: "fujie-redis/url" }),
      ...(service === "audit" ? { FUJIE_KEY_DATABASE_URL: "fujie-audit-keys-database/url" } : {}),
      ...(service === "audit" && migrates
        ? { FUJIE_KEY_MIGRATION_DATABASE_URL: "fujie-audit-keys-database-owner/url" }
        : {}),
    });
    assert.equal(variables["FUJIE_ENVIRONMENT"], "production");
    assert.deepEqual(pod.template.spec?.containers[0]?.args, migrates ? ["migrate"] : undefined);
  }
});

test("a service knows the addresses of those that it calls or follows, and no other", () => {
  rendered.onEach((objects, variant) => {
    for (const { metadata, data = {} } of ofKind(objects, "ConfigMap")) {
      const service = services.find((name) => isOf(metadata.labels ?? {}, name));
      if (service === undefined) continue;
      const peers = Object.keys(data).filter((name) => name.startsWith("FUJIE_PEER_"));
      assert.deepEqual(
        peers.toSorted(),
        calls[service]?.map((peer) => `FUJIE_PEER_${peer.toUpperCase().replace("-", "_")}`).toSorted(),
        variant,
      );
      for (const name of peers) {
        const [, host = "", port = ""] =
          /^dns:\/\/\/([^.]+)\.identity\.svc\.cluster\.local:(\d+)$/.exec(data[name] ?? "") ?? [];
        assert.equal(named(objects, "Service", host).spec?.ports?.[0]?.port, Number(port), `${variant} ${name}`);
      }
    }
  });
});

test("other settings make other pods", async () => {
  const changed = await render({ values: { settings: { FUJIE_LOG_LEVEL: "warn" } } });
  const checksum = (objects: readonly KubernetesObject[], name: string) =>
    named(objects, "Deployment", name).spec?.template.metadata?.annotations?.["checksum/config"];
  for (const service of services) {
    assert.notEqual(
      checksum(changed, `fujie-${service}`),
      checksum(rendered.objectsOf("production"), `fujie-${service}`),
    );
  }
});
