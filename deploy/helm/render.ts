// The chart through the real Helm: rendered objects, or what Helm says instead.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Deployment } from "kubernetes-types/apps/v1.js";
import type { HorizontalPodAutoscaler } from "kubernetes-types/autoscaling/v2.js";
import type { Job } from "kubernetes-types/batch/v1.js";
import type { ConfigMap, PodTemplateSpec, Service, ServiceAccount } from "kubernetes-types/core/v1.js";
import type { ObjectMeta } from "kubernetes-types/meta/v1.js";
import type { NetworkPolicy } from "kubernetes-types/networking/v1.js";
import type { PodDisruptionBudget } from "kubernetes-types/policy/v1.js";
import { parseAllDocuments } from "yaml";
import { type ProgramResult, root, runProgram } from "../../scripts/testing/programs.ts";
import { obtainHelm } from "../../scripts/tools/helm.ts";

export const chart: string = join(root, "deploy/helm/fujie");
export const production: string = join(chart, "ci/production.yaml");
export const services = ["auth", "registry", "trust-gateway", "audit"] as const;
/** Who calls whom by design (docs/design.md): to the right by call, to the left by feed; all follow auth. */
export const calls: Readonly<Record<string, readonly string[]>> = {
  auth: ["auth", "registry", "audit"],
  registry: ["auth", "trust-gateway", "audit"],
  "trust-gateway": ["auth", "audit"],
  audit: ["auth"],
};

interface Kinds {
  ConfigMap: ConfigMap;
  Deployment: Deployment;
  HorizontalPodAutoscaler: HorizontalPodAutoscaler;
  Job: Job;
  NetworkPolicy: NetworkPolicy;
  PodDisruptionBudget: PodDisruptionBudget;
  Service: Service;
  ServiceAccount: ServiceAccount;
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta & { readonly name: string };
}

export interface RenderOptions {
  /** Values over those of ci/production.yaml. */
  readonly values?: object;
  readonly release?: string;
  /** Kinds that the cluster is said to know: "monitoring.coreos.com/v1/ServiceMonitor". */
  readonly knows?: readonly string[];
  /** Without the values of ci/production.yaml. */
  readonly bare?: boolean;
}

let helm: Promise<string> | undefined;

/** Runs the real Helm, which is fetched and checked once. */
export async function runHelm(args: string[]): Promise<ProgramResult> {
  helm ??= obtainHelm();
  return runProgram(await helm, args);
}

/** What `helm template` writes, and whether it succeeded. */
export async function helmTemplate(options: RenderOptions = {}): Promise<{ ok: boolean; output: string }> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-chart-"));
  try {
    const values = join(folder, "values.json");
    writeFileSync(values, JSON.stringify(options.values ?? {}));
    const files = options.bare === true ? [values] : [production, values];
    const { code, output } = await runHelm([
      ...["template", options.release ?? "fujie", chart, "--namespace", "identity"],
      ...files.flatMap((file) => ["--values", file]),
      ...(options.knows ?? []).flatMap((kind) => ["--api-versions", kind]),
    ]);
    return { ok: code === 0, output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The objects of a render; throws what Helm said when there is none. */
export async function render(options: RenderOptions = {}): Promise<KubernetesObject[]> {
  const { ok, output } = await helmTemplate(options);
  if (!ok) throw new Error(output);
  return parseObjects(output);
}

export function parseObjects(text: string): KubernetesObject[] {
  return parseAllDocuments(text)
    .map((document) => {
      if (document.errors.length > 0) throw new Error(document.errors.join("\n"));
      return document.toJSON() as KubernetesObject | null;
    })
    .filter((object) => object !== null);
}

export function ofKind<Kind extends keyof Kinds>(objects: readonly KubernetesObject[], kind: Kind) {
  return objects.filter((object): object is KubernetesObject & Kinds[Kind] => object.kind === kind);
}

/** The one object of a kind and name. */
export function named<Kind extends keyof Kinds>(objects: readonly KubernetesObject[], kind: Kind, name: string) {
  const found = ofKind(objects, kind).find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
}

export interface Pod {
  /** "Deployment fujie-auth" */
  readonly owner: string;
  readonly template: PodTemplateSpec;
  readonly labels: Readonly<Record<string, string>>;
}

/** Every pod that the objects make. */
export function podsOf(objects: readonly KubernetesObject[]): Pod[] {
  return [...ofKind(objects, "Deployment"), ...ofKind(objects, "Job")].flatMap(({ kind, metadata, spec }) =>
    spec === undefined
      ? []
      : [
          {
            owner: `${kind} ${metadata.name}`,
            template: spec.template,
            labels: spec.template.metadata?.labels ?? {},
          },
        ],
  );
}

export function selects(
  selector: Readonly<Record<string, string>> | undefined,
  labels: Readonly<Record<string, string>>,
) {
  return Object.entries(selector ?? {}).every(([name, value]) => labels[name] === value);
}

/** Whether a service's own pods, or its migration's, have these labels. */
export function isOf(labels: Readonly<Record<string, string>>, service: string): boolean {
  const component = labels["app.kubernetes.io/component"];
  return component === service || component === `${service}-migrate`;
}
