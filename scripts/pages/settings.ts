// docs/settings.md: every setting that a service reads from its environment.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type ConfigSpec, commonSettings, describeConfig } from "../../packages/kit/src/config/index.ts";
import { root } from "../testing/programs.ts";

const services = ["auth", "registry", "trust-gateway", "audit"];

export async function renderSettings(): Promise<string> {
  const sections = [
    "# Settings",
    "",
    "A service reads its settings once, from environment variables, and refuses to start on anything missing, malformed or unknown; it then names every problem and never a value. `--check-config` only reads them. In a cluster the [chart](../deploy/helm/fujie/README.md) writes most of them.",
    "",
    "## Every service",
    "",
    ...tableOf(commonSettings),
  ];
  for (const service of services) {
    const own = await ownSettings(service);
    if (own !== undefined) sections.push("", `## ${service}`, "", ...tableOf(own));
  }
  return `${sections.join("\n")}\n`;
}

function tableOf(spec: ConfigSpec): string[] {
  return [
    "| variable | value | default | meaning |",
    "|---|---|---|---|",
    ...describeConfig(spec).map(({ name, kind, required, default: preset, description }) => {
      const otherwise = preset === undefined ? (required ? "**required**" : "absent") : `\`${preset}\``;
      return `| \`${name}\` | ${inCell(kind)} | ${otherwise} | ${inCell(description)} |`;
    }),
  ];
}

function inCell(text: string): string {
  return text.replaceAll(/[|<]/g, "\\$&");
}

/** The settings that a service has beside the common ones, if its config.ts exports them. */
async function ownSettings(service: string): Promise<ConfigSpec | undefined> {
  const file = join(root, "services", service, "src", "config.ts");
  if (!existsSync(file)) return undefined;
  const exported: Record<string, unknown> = await import(file);
  return Object.values(exported).find(isSpec);
}

function isSpec(value: unknown): value is ConfigSpec {
  if (typeof value !== "object" || value === null) return false;
  const settings: unknown[] = Object.values(value);
  return settings.length > 0 && settings.every((one) => typeof one === "object" && one !== null && "parse" in one);
}
