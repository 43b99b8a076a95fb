import assert from "node:assert/strict";
import { helmTemplate, type KubernetesObject, parseObjects, type RenderOptions } from "./render.ts";

const monitoring = ["monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule"];
const digest = `sha256:${"0123456789abcdef".repeat(4)}`;

/** The values that the tests render the chart with. */
export const variants: Readonly<Record<string, RenderOptions>> = {
  production: {},
  "migrations by hook": { values: { migrations: { mode: "hook" } } },
  "cert-manager": {
    values: {
      certManager: { enabled: true, render: "always", issuerRef: { name: "fujie" } },
      services: {
        auth: { tls: { secret: "" } },
        registry: { tls: { secret: "" } },
        "trust-gateway": { tls: { secret: "" } },
      },
    },
  },
  autoscaled: { values: { defaults: { autoscaling: { enabled: true, minReplicas: 3 } } }, knows: monitoring },
  sandbox: {
    values: {
      environment: "sandbox",
      redis: { secret: "" },
      defaults: { replicas: 1 },
      networkPolicy: { enabled: false },
      monitoring: { serviceMonitor: "never", prometheusRule: "never", dashboards: "never" },
    },
    knows: monitoring,
  },
  "everything else": {
    release: "the-identity-platform-of-a-city-with-a-long-name",
    values: {
      global: {
        imageRegistry: "mirror.example",
        imagePullSecrets: ["one", { name: "two" }],
        ofTheParentChart: { a: 1 },
      },
      image: { registry: "" },
      commonLabels: { team: "identity" },
      commonAnnotations: { "example.org/owner": "identity" },
      listenHost: "[::]",
      ports: { grpc: 7000, http: 7001, admin: 7002 },
      jwksUrl: "https://id.example.gov.cn/jwks",
      settings: { FUJIE_LOG_LEVEL: "warn", FUJIE_DATABASE_POOL_MAX: "40" },
      otlp: { endpoint: "https://collector.observability:4317", traceRatio: "0.5" },
      networkPolicy: {
        grpcFrom: [{ namespaceSelector: { matchLabels: { team: "platform" } } }],
        redis: { ports: [6379, 26379] },
        otlp: { to: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "observability" } } }] },
      },
      monitoring: { serviceMonitor: "always", prometheusRule: "always", labels: { release: "prometheus" } },
      defaults: {
        drainTimeoutMs: 600_000,
        preStopSeconds: 30,
        priorityClassName: "critical",
        nodeSelector: { disk: "ssd" },
        tolerations: [{ key: "identity", operator: "Exists", effect: "NoSchedule" }],
        affinity: { podAntiAffinity: {} },
        podAnnotations: { "example.org/pod": "yes" },
        podLabels: { "example.org/zone": "a", "app.kubernetes.io/component": "not-to-be-overwritten" },
      },
      services: {
        auth: { image: { digest }, resources: { limits: { memory: "2Gi", cpu: "2" } } },
        audit: {
          image: { tag: "0.1.1" },
          topologySpreadConstraints: [
            {
              maxSkew: 2,
              topologyKey: "zone",
              whenUnsatisfiable: "DoNotSchedule",
              labelSelector: { matchLabels: { a: "b" } },
            },
          ],
        },
      },
      extraObjects: [
        { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "extra", namespace: "{{ .Release.Namespace }}" } },
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: extra-text\n  namespace: {{ .Release.Namespace }}\n",
      ],
    },
  },
};

export interface Rendered {
  /** What Helm wrote. */
  text(variant: string): string;
  objectsOf(variant: string): readonly KubernetesObject[];
  /** Runs a check on every variant. */
  onEach(check: (objects: readonly KubernetesObject[], variant: string) => void): void;
}

/** Every variant, rendered. */
export async function renderVariants(): Promise<Rendered> {
  const texts = new Map<string, string>();
  const objects = new Map<string, readonly KubernetesObject[]>();
  const render = async ([name, options]: readonly [string, RenderOptions]) => {
    const { ok, output } = await helmTemplate(options);
    assert.ok(ok, `${name}: ${output}`);
    texts.set(name, output);
    objects.set(name, parseObjects(output));
  };
  await Promise.all(Object.entries(variants).map(render));
  return {
    text: (variant) => texts.get(variant) ?? assert.fail(variant),
    objectsOf: (variant) => objects.get(variant) ?? assert.fail(variant),
    onEach(check) {
      for (const [variant, rendered] of objects) check(rendered, variant);
    },
  };
}
