import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FileKeyRing, openFileKeyRing } from "../src/keys/index.ts";

interface Cleanup {
  after(fn: () => Promise<void>): void;
}

/** A ring of its own in a temporary folder. */
export async function openTestRing(t: Cleanup): Promise<FileKeyRing> {
  const dir = await mkdtemp(join(tmpdir(), "fujie-ring-"));
  t.after(() => rm(dir, { recursive: true }));
  return openFileKeyRing(dir, { service: "test", create: true });
}
