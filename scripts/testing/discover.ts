import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "./programs.ts";

const folders = ["packages", "services", "sandbox", "witness", "bench", "deploy", "tests", "scripts"];

/** The test files of the repository whose path ends so, relative to its root, in a stable order. */
export function findTestFiles(suffix: ".test.ts" | ".long.ts", base: string = root): string[] {
  return folders.flatMap((folder) => walk(base, folder, suffix)).sort();
}

function walk(base: string, folder: string, suffix: string): string[] {
  if (!existsSync(join(base, folder))) return [];
  return readdirSync(join(base, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return isOurs(entry.name) ? walk(base, path, suffix) : [];
    return entry.isFile() && entry.name.endsWith(suffix) ? [path] : [];
  });
}

function isOurs(folder: string): boolean {
  return folder !== "node_modules" && !folder.startsWith(".");
}
