// Makes every committed file that is made by a program:
//
//   node scripts/generate.ts            writes them
//   node scripts/generate.ts --check    says which differ from what would be written, and fails if any does

import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root, runProgram } from "./testing/programs.ts";

export type Generator = {
  name: string;
  /** The generated files and folders, relative to the root. A folder holds nothing else. */
  outputs: string[];
  /** Writes the outputs below `base`, at the same relative paths. */
  generate(base: string): Promise<void>;
};

/**
 * All generators of the project; a new one is added here and nowhere else. What one renders with is imported when it
 * runs, so that a fault there fails this check alone.
 */
export const generators: Generator[] = [
  {
    name: "TypeScript from proto/",
    outputs: ["packages/api/src/gen"],
    generate: (base) => runGenerator("buf", ["generate", "--output", base]),
  },
  page("docs/return-codes.md", async () => {
    const { renderReturnCodes } = await import("../packages/kit/src/errors/return-codes.ts");
    return renderReturnCodes();
  }),
  page("docs/openapi.json", async () => (await import("./pages/openapi.ts")).renderOpenapi()),
  page("docs/requirements.md", async () => (await import("./pages/requirements.ts")).renderRequirements()),
  page("docs/synthetic-people.md", async () => (await import("./pages/synthetic-people.ts")).renderSyntheticPeople()),
  page("docs/settings.md", async () => (await import("./pages/settings.ts")).renderSettings()),
  page("deploy/helm/fujie/README.md", async () => (await import("./pages/chart.ts")).renderChartReadme()),
  page("deploy/helm/fujie/files/dashboard.json", async () =>
    (await import("./pages/chart.ts")).copyOf("deploy/dashboards/fujie.json"),
  ),
  page("deploy/helm/fujie/files/alerts.yaml", async () =>
    (await import("./pages/chart.ts")).copyOf("deploy/alerts/fujie.yaml"),
  ),
];

/** A generator of one text file. */
function page(file: string, render: () => Promise<string>): Generator {
  return {
    name: file,
    outputs: [file],
    generate: async (base) => {
      mkdirSync(dirname(join(base, file)), { recursive: true });
      writeFileSync(join(base, file), await render());
    },
  };
}

async function runGenerator(program: string, args: string[]): Promise<void> {
  const { code, output } = await runProgram(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} failed:\n${output}`);
}

/** The generated files, relative to the root, that are missing, left over or differ from what is generated now. */
export async function findStaleFiles(from: Generator[] = generators, base: string = root): Promise<string[]> {
  const stale: string[] = [];
  for (const generator of from) {
    await inTemporaryFolder(async (fresh) => {
      await generator.generate(fresh);
      for (const output of generator.outputs) {
        stale.push(...differences(join(base, output), join(fresh, output), output));
      }
    });
  }
  return stale;
}

async function writeAll(): Promise<void> {
  for (const generator of generators) {
    await inTemporaryFolder(async (fresh) => {
      await generator.generate(fresh);
      for (const output of generator.outputs) replace(join(fresh, output), join(root, output));
    });
    console.log(`generated ${generator.outputs.join(", ")}`);
  }
}

function replace(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true });
}

function differences(committed: string, fresh: string, label: string): string[] {
  const names = new Set([...filesIn(committed), ...filesIn(fresh)]);
  return [...names].sort().flatMap((name) => {
    const [ours, theirs] = [read(join(committed, name)), read(join(fresh, name))];
    const path = name === "" ? label : `${label}/${name}`;
    if (ours === undefined) return [`${path} is missing`];
    if (theirs === undefined) return [`${path} is no longer generated`];
    return ours.equals(theirs) ? [] : [`${path} differs`];
  });
}

/** The files below a folder, relative to it; for a file, the one name "". */
function filesIn(path: string): string[] {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [""];
  return readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(path, name)).isFile());
}

function read(path: string): Buffer | undefined {
  return existsSync(path) ? readFileSync(path) : undefined;
}

async function inTemporaryFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-generate-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(args: string[]): Promise<void> {
  const unknown = args.filter((arg) => arg !== "--check");
  if (unknown.length > 0) throw new Error(`unknown argument: ${unknown.join(" ")}`);
  if (!args.includes("--check")) return writeAll();
  const stale = await findStaleFiles();
  for (const line of stale) console.log(`${line}: run node scripts/generate.ts`);
  if (stale.length > 0) process.exitCode = 1;
}

if (import.meta.main) await main(process.argv.slice(2));
