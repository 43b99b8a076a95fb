import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Where a log's static resources come from; undefined for one that is not there. */
export type ReadResource = (path: string) => Promise<Uint8Array | undefined>;

const RESOURCE_BYTES_MAX = 32 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

/** The resources of a running log: `https://host/log`. Errors: whatever the network gives. */
export function httpSource(url: string): ReadResource {
  const base = url.replace(/\/$/, "");
  return async (path) => {
    const response = await fetch(`${base}/${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error" });
    if (response.status === 404) {
      await response.body?.cancel();
      return undefined;
    }
    if (response.status !== 200) throw new Error(`${base}/${path} answered ${response.status}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length > RESOURCE_BYTES_MAX) throw new Error(`${base}/${path} is too large`);
    return bytes;
  };
}

/** The resources of a bundle on disk. */
export function folderSource(folder: string): ReadResource {
  return async (path) => {
    try {
      return readFileSync(join(folder, path));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw error;
    }
  };
}

/** A resource that must be there, as text. */
export async function readNote(read: ReadResource, path: string): Promise<string> {
  const bytes = await read(path);
  if (bytes === undefined) throw new Error(`${path} is not there`);
  return Buffer.from(bytes).toString("utf8");
}
