import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { parse } from "yaml";
import { root } from "../../scripts/testing/programs.ts";
import {
  chart,
  helmTemplate,
  isOf,
  type KubernetesObject,
  named,
  ofKind,
  podsOf,
  production,
  render,
  runHelm,
  selects,
  services,
} from "./render.ts";
import { type Rendered, renderVariants, variants } from "./variants.ts";

const selectorLabels = ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"];

let rendered: Rendered;
before(async () => {
  rendered = await renderVariants();
});

test("the chart passes Helm's strict lint", async () => {
  const { code, output } = await runHelm(["lint", "--strict", chart, "--values", production]);
  assert.equal(code, 0, output);
});

test("two renders of the same values are the same bytes", async () => {
  for (const name of ["production", "everything else"]) {
    assert.equal((await helmTemplate(variants[name])).output, rendered.text(name), name);
  }
});

test("every object has a name of at most 63 characters, a namespace and the common labels, and is there once", () => {
  rendered.onEach((objects, variant) => {
    const seen = new Set<string>();
    for (const { kind, metadata } of objects) {
      const id = `${variant}: ${kind} ${metadata.name}`;
      assert.match(metadata.name, /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, id);
      assert.equal(metadata.namespace, "identity", id);
      assert.ok(!seen.has(id), `${id} twice`);
      seen.add(id);
      if (metadata.name.startsWith("extra")) continue;
      for (const label of ["name", "instance", "part-of", "version", "managed-by"]) {
        assert.ok(metadata.labels?.[`app.kubernetes.io/${label}`], `${id} ${label}`);
      }
      for (const value of Object.values(metadata.labels ?? {})) assert.match(value, /^([\w]([-\w.]{0,61}\w)?)?$/, id);
    }
  });
  const everything = rendered.objectsOf("everything else").filter(({ metadata }) => !metadata.name.startsWith("extra"));
  assert.ok(everything.every(({ metadata }) => metadata.labels?.["team"] === "identity"));
  assert.ok(everything.every(({ metadata }) => metadata.annotations?.["example.org/owner"] === "identity"));
});

test("no Secret is rendered and nothing looks like one", () => {
  for (const variant of Object.keys(variants)) {
    const text = rendered.text(variant);
    assert.doesNotMatch(text, /^kind: Secret$/m, variant);
    assert.doesNotMatch(text, /PRIVATE KEY|password|:\/\/[^\s/]*:[^\s/]*@/i, variant);
  }
});

test("every pod is restricted: no root, no token, no privilege, nothing of the host", () => {
  rendered.onEach((objects, variant) => {
    const pods = podsOf(objects);
    assert.equal(pods.length, 8, variant);
    for (const { owner, template } of pods) {
      const { spec } = template;
      const id = `${variant}: ${owner}`;
      assert.equal(spec?.automountServiceAccountToken, false, id);
      assert.deepEqual([spec?.hostNetwork, spec?.hostPID, spec?.hostIPC], [undefined, undefined, undefined], id);
      const { runAsUser = 0, ...context } = spec?.securityContext ?? {};
      assert.ok(runAsUser > 0, id);
      assert.deepEqual(
        context,
        {
          runAsNonRoot: true,
          runAsGroup: runAsUser,
          fsGroup: runAsUser,
          fsGroupChangePolicy: "OnRootMismatch",
          seccompProfile: { type: "RuntimeDefault" },
        },
        id,
      );
      assert.equal(spec?.containers.length, 1, id);
      assert.deepEqual(
        spec?.containers[0]?.securityContext,
        {
          allowPrivilegeEscalation: false,
          privileged: false,
          readOnlyRootFilesystem: true,
          runAsNonRoot: true,
          capabilities: { drop: ["ALL"] },
          seccompProfile: { type: "RuntimeDefault" },
        },
        id,
      );
    }
    for (const account of ofKind(objects, "ServiceAccount")) {
      assert.equal(account.automountServiceAccountToken, false, variant);
    }
  });
});

test("a pod writes to /tmp alone, and what it mounts besides are Secrets that not everybody can read", () => {
  rendered.onEach((objects, variant) => {
    for (const { owner, template } of podsOf(objects)) {
      const mounts = template.spec?.containers[0]?.volumeMounts ?? [];
      const writable = mounts.filter(({ readOnly }) => readOnly !== true).map(({ mountPath }) => mountPath);
      assert.deepEqual(writable, ["/tmp"], `${variant}: ${owner}`);
      for (const { name, secret, emptyDir } of template.spec?.volumes ?? []) {
        if (name === "tmp") assert.ok(emptyDir?.sizeLimit);
        else assert.equal((secret?.defaultMode ?? 0o777) & 0o007, 0, `${variant}: ${owner} ${name}`);
      }
    }
  });
});

test("selectors never name what may change, and each selects its own service's pods and no migration", () => {
  rendered.onEach((objects, variant) => {
    const pods = podsOf(objects);
    const selectorsOf = [
      ...ofKind(objects, "Deployment").map(({ metadata, spec }) => ({ metadata, labels: spec?.selector.matchLabels })),
      ...ofKind(objects, "Service").map(({ metadata, spec }) => ({ metadata, labels: spec?.selector })),
      ...ofKind(objects, "PodDisruptionBudget").map(({ metadata, spec }) => ({
        metadata,
        labels: spec?.selector?.matchLabels,
      })),
    ];
    assert.equal(selectorsOf.length, 16, variant);
    for (const { metadata, labels = {} } of selectorsOf) {
      assert.deepEqual(Object.keys(labels), selectorLabels, metadata.name);
      const selected = pods.filter((pod) => selects(labels, pod.labels)).map(({ owner }) => owner);
      assert.deepEqual(selected, [`Deployment ${metadata.name.replace(/-grpc$/, "")}`], `${variant}: ${metadata.name}`);
    }
  });
});

test("ports and probes name ports that the container has, and gRPC has a Service without an address of its own", () => {
  rendered.onEach((objects, variant) => {
    for (const { metadata, spec } of ofKind(objects, "Deployment")) {
      const container = spec?.template.spec?.containers[0];
      const ports = new Map(container?.ports?.map(({ name, containerPort }) => [name, containerPort]));
      assert.deepEqual([...ports.keys()], ["grpc", "http", "admin"]);
      const probes = [container?.startupProbe, container?.livenessProbe, container?.readinessProbe];
      assert.deepEqual(
        probes.map((probe) => probe?.httpGet),
        ["/startupz", "/livez", "/readyz"].map((path) => ({ path, port: "admin" })),
        variant,
      );
      const headless = named(objects, "Service", `${metadata.name}-grpc`).spec;
      assert.equal(headless?.clusterIP, "None");
      assert.notEqual(headless?.publishNotReadyAddresses, true);
      for (const service of [headless, named(objects, "Service", metadata.name).spec]) {
        for (const { port, targetPort } of service?.ports ?? []) assert.equal(ports.get(String(targetPort)), port);
      }
    }
  });
});

test("a rollout takes no pod away before the next one is ready, and a pod has time to stop", () => {
  rendered.onEach((objects, variant) => {
    for (const { metadata, spec } of ofKind(objects, "Deployment")) {
      assert.equal(spec?.strategy?.rollingUpdate?.maxUnavailable, 0, variant);
      const pod = spec?.template.spec;
      const config = named(objects, "ConfigMap", metadata.name).data ?? {};
      const command = pod?.containers[0]?.lifecycle?.preStop?.exec?.command?.join(" ") ?? "";
      const lookingAwayMs = Number(/setTimeout\(\(\) => \{\}, (\d+)\)/.exec(command)?.[1]);
      const drainMs = Number(config["FUJIE_DRAIN_TIMEOUT_MS"]);
      assert.ok(lookingAwayMs >= 0 && drainMs > 0, variant);
      assert.ok((pod?.terminationGracePeriodSeconds ?? 0) * 1000 > lookingAwayMs + drainMs + 10_000, variant);
      assert.ok((pod?.topologySpreadConstraints?.length ?? 0) > 0, variant);
    }
    for (const { spec } of ofKind(objects, "PodDisruptionBudget")) {
      assert.equal(spec?.maxUnavailable, 1);
      assert.equal(spec?.unhealthyPodEvictionPolicy, "AlwaysAllow");
    }
  });
});

test("the heap leaves a quarter of the memory limit for everything else", () => {
  const heapsOf = (variant: string) =>
    ofKind(rendered.objectsOf(variant), "Deployment").map(({ metadata, spec }) => {
      const options = spec?.template.spec?.containers[0]?.env?.find(({ name }) => name === "NODE_OPTIONS")?.value;
      return [metadata.labels?.["app.kubernetes.io/component"], options];
    });
  const plain = "--max-old-space-size=384";
  assert.deepEqual(
    heapsOf("production"),
    services.toSorted().map((service) => [service, plain]),
  );
  const [, [service, larger] = []] = heapsOf("everything else");
  assert.deepEqual([service, larger], ["auth", "--max-old-space-size=1536"]);
});

test("images are pinned by digest where one is given, come from the global registry, and are never the latest", async () => {
  const image = (variant: string, service: string) =>
    podsOf(rendered.objectsOf(variant))
      .filter(({ labels }) => labels["app.kubernetes.io/component"]?.replace("-migrate", "") === service)
      .map(({ template }) => template.spec?.containers[0]?.image);
  const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
  assert.deepEqual(image("everything else", "auth"), Array(2).fill(`mirror.example/fujie/auth:0.1.0@${digest}`));
  assert.deepEqual(image("everything else", "audit"), Array(2).fill("mirror.example/fujie/audit:0.1.1"));
  assert.deepEqual(image("production", "auth"), Array(2).fill("registry.example.gov.cn/fujie/auth:0.1.0"));
  for (const variant of Object.keys(variants)) assert.doesNotMatch(rendered.text(variant), /image:.*latest/);
  const secrets = podsOf(rendered.objectsOf("everything else")).map(({ template }) => template.spec?.imagePullSecrets);
  assert.deepEqual(secrets, Array(8).fill([{ name: "one" }, { name: "two" }]));
});

test("with an autoscaler the Deployment says nothing about replicas", () => {
  const objects = rendered.objectsOf("autoscaled");
  assert.ok(ofKind(objects, "Deployment").every(({ spec }) => spec?.replicas === undefined));
  const scalers = ofKind(objects, "HorizontalPodAutoscaler");
  assert.deepEqual(
    scalers.map(({ spec }) => spec?.scaleTargetRef.name).toSorted(),
    services.map((service) => `fujie-${service}`).toSorted(),
  );
  assert.ok(scalers.every(({ spec }) => spec?.minReplicas === 3 && spec.behavior !== undefined));
  assert.ok(ofKind(rendered.objectsOf("production"), "Deployment").every(({ spec }) => spec?.replicas === 2));
});

// Migrations

test("a migration's name changes with what it runs, and with nothing else", async () => {
  const jobs = async (values: object) => ofKind(await render({ values }), "Job").map(({ metadata }) => metadata.name);
  const same = await jobs({ defaults: { replicas: 3 }, monitoring: { dashboards: "never" } });
  assert.deepEqual(
    same,
    ofKind(rendered.objectsOf("production"), "Job").map(({ metadata }) => metadata.name),
  );
  const others = await jobs({ image: { tag: "0.2.0" } });
  assert.equal(others.length, 4);
  for (const name of others) assert.ok(!same.includes(name), name);
});

test("a migration has a deadline, few attempts and an end of its traces", () => {
  rendered.onEach((objects, variant) => {
    for (const { spec } of ofKind(objects, "Job")) {
      assert.equal(spec?.backoffLimit, 3, variant);
      assert.equal(spec?.activeDeadlineSeconds, 900);
      assert.equal(spec?.ttlSecondsAfterFinished, 86_400);
      assert.equal(spec?.template.spec?.restartPolicy, "Never");
    }
  });
});

test("a migration by hook needs nothing that comes after it", () => {
  const objects = rendered.objectsOf("migrations by hook");
  const isHook = ({ metadata }: KubernetesObject) =>
    metadata.annotations?.["helm.sh/hook"] === "pre-install,pre-upgrade";
  const weight = ({ metadata }: KubernetesObject) => Number(metadata.annotations?.["helm.sh/hook-weight"] ?? 0);
  for (const job of ofKind(objects, "Job")) {
    assert.ok(isHook(job));
    const pod = job.spec?.template.spec;
    const needed = [
      named(objects, "ConfigMap", pod?.containers[0]?.envFrom?.[0]?.configMapRef?.name ?? ""),
      named(objects, "ServiceAccount", pod?.serviceAccountName ?? ""),
    ];
    for (const object of needed) assert.ok(isHook(object) && weight(object) < weight(job), object.metadata.name);
  }
  assert.ok(ofKind(objects, "Deployment").every((deployment) => !isHook(deployment)));
  assert.ok(rendered.objectsOf("production").every((object) => !isHook(object)));
});

// Kinds that not every cluster knows

test("objects of kinds that not every cluster knows come always, never, or when it knows them", async () => {
  const knows = variants["autoscaled"]?.knows ?? [];
  const kinds = async (mode: string | undefined, known: boolean) => {
    const monitoring = mode === undefined ? {} : { serviceMonitor: mode, prometheusRule: mode };
    const objects = await render({ values: { monitoring }, knows: known ? knows : [] });
    return objects.filter(({ kind }) => /^(ServiceMonitor|PrometheusRule)$/.test(kind)).length;
  };
  const counts = await Promise.all([
    kinds(undefined, false),
    kinds(undefined, true),
    kinds("always", false),
    kinds("never", true),
  ]);
  assert.deepEqual(counts, [0, 5, 5, 0]);
});

test("Prometheus reads each pod once, under its service's name", () => {
  const objects = rendered.objectsOf("autoscaled");
  for (const service of services) {
    const monitor = objects.find(
      ({ kind, metadata }) => kind === "ServiceMonitor" && metadata.name === `fujie-${service}`,
    );
    assert.ok(monitor !== undefined && "spec" in monitor);
    assert.deepEqual(monitor.spec, {
      namespaceSelector: { matchNames: ["identity"] },
      selector: {
        matchLabels: {
          "app.kubernetes.io/name": "fujie",
          "app.kubernetes.io/instance": "fujie",
          "app.kubernetes.io/component": service,
        },
      },
      endpoints: [
        {
          port: "admin",
          path: "/metrics",
          interval: "30s",
          relabelings: [{ targetLabel: "job", replacement: `fujie-${service}` }],
        },
      ],
    });
    const withAdmin = ofKind(objects, "Service").filter(
      ({ metadata, spec }) => isOf(metadata.labels ?? {}, service) && spec?.ports?.some(({ name }) => name === "admin"),
    );
    assert.equal(withAdmin.length, 1);
  }
});

test("the rules and the dashboard in the cluster are those of deploy/", () => {
  const objects = rendered.objectsOf("autoscaled");
  const rule = objects.find(({ kind }) => kind === "PrometheusRule");
  assert.ok(rule !== undefined && "spec" in rule);
  assert.deepEqual(rule.spec, parse(readFileSync(join(root, "deploy/alerts/fujie.yaml"), "utf8")));
  const { data, metadata } = named(objects, "ConfigMap", "fujie-dashboard");
  assert.equal(metadata.labels?.["grafana_dashboard"], "1");
  const dashboard = readFileSync(join(root, "deploy/dashboards/fujie.json"), "utf8");
  assert.deepEqual(JSON.parse(data?.["fujie.json"] ?? ""), JSON.parse(dashboard));
});

test("cert-manager gives each service one certificate in its name", () => {
  const certificates = rendered.objectsOf("cert-manager").filter(({ kind }) => kind === "Certificate");
  // Audit names a Secret of its own, which wins.
  assert.deepEqual(
    certificates.map(({ metadata }) => metadata.name),
    ["fujie-auth", "fujie-registry", "fujie-trust-gateway"],
  );
  for (const certificate of certificates) {
    assert.ok("spec" in certificate);
    const service = certificate.metadata.name.replace("fujie-", "");
    assert.deepEqual(certificate.spec, {
      secretName: `fujie-${service}-tls`,
      uris: [`spiffe://fujie/${service}`],
      dnsNames: [`fujie-${service}`, `fujie-${service}-grpc`].flatMap((host) => [
        `${host}.identity.svc`,
        `${host}.identity.svc.cluster.local`,
      ]),
      usages: ["digital signature", "server auth", "client auth"],
      privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Always" },
      duration: "720h",
      renewBefore: "240h",
      issuerRef: { name: "fujie", kind: "Issuer", group: "cert-manager.io" },
    });
    const volumes = named(rendered.objectsOf("cert-manager"), "Deployment", `fujie-${service}`).spec?.template.spec
      ?.volumes;
    assert.equal(volumes?.find(({ name }) => name === "tls")?.secret?.secretName, `fujie-${service}-tls`);
  }
});
