// What the Helm chart holds of other files, and the table of its values in its README.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, isScalar, type Pair, parseDocument, type YAMLMap } from "yaml";
import { root } from "../testing/programs.ts";

const BEGIN = "<!-- values: made by node scripts/generate.ts -->";
const END = "<!-- end of values -->";

/** Helm reads only files within the chart: the dashboard and the alerts are copied into it. */
export function copyOf(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

/** The README with the table of values between its marks made anew from the comments of values.yaml. */
export function renderChartReadme(): string {
  const text = copyOf("deploy/helm/fujie/README.md");
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error("the chart's README has no place for its values");
  return `${before}${BEGIN}\n\n${tableOf(readValues()).join("\n")}\n\n${END}${after}`;
}

export interface ChartValue {
  /** "networkPolicy.postgres.port" */
  readonly path: string;
  readonly default: unknown;
  /** Undefined where the line has no "# --" above it. */
  readonly description: string | undefined;
}

/** Every value of values.yaml that is described, and every leaf that is not. */
export function readValues(): ChartValue[] {
  const { contents } = parseDocument(copyOf("deploy/helm/fujie/values.yaml"));
  if (!isMap(contents)) throw new Error("values.yaml is not a map");
  return valuesIn(contents, "");
}

function valuesIn(map: YAMLMap, prefix: string): ChartValue[] {
  return map.items.flatMap((pair, index) => {
    const path = `${prefix}${isScalar(pair.key) ? String(pair.key.value) : ""}`;
    // The library hands a comment above the first line of a map to the map itself.
    const comment = commentOf(pair) ?? (index === 0 ? map.commentBefore : undefined);
    const description = comment?.split("\n").find((line) => line.startsWith(" -- "));
    if (description === undefined && isMap(pair.value) && pair.value.items.length > 0) {
      return valuesIn(pair.value, `${path}.`);
    }
    const value: unknown = isMap(pair.value) || isScalar(pair.value) ? pair.value.toJSON() : toPlain(pair.value);
    return [{ path, default: value, description: description?.slice(4) }];
  });
}

function commentOf({ key }: Pair): string | undefined {
  return isScalar(key) ? (key.commentBefore ?? undefined) : undefined;
}

function toPlain(node: unknown): unknown {
  return typeof node === "object" && node !== null && "toJSON" in node && typeof node.toJSON === "function"
    ? node.toJSON()
    : node;
}

function tableOf(values: readonly ChartValue[]): string[] {
  return [
    "| value | default | meaning |",
    "|---|---|---|",
    ...values.map(
      ({ path, default: preset, description }) =>
        `| \`${path}\` | \`${JSON.stringify(preset).replaceAll("|", "\\|")}\` | ${(description ?? "").replaceAll("|", "\\|")} |`,
    ),
  ];
}
