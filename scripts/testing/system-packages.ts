import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** A program or library outside npm that some test files need. */
export type SystemPackage = {
  name: string;
  /** The Debian package that brings it. */
  debian: string;
  /** How a test file that needs it is known: by its text. */
  usedBy: RegExp;
  isPresent(): boolean;
};

/** Debian's own Python, which sees Debian's modules; another `python3` may come first on the PATH. */
const python = "/usr/bin/python3";

export const systemPackages: SystemPackage[] = [
  {
    name: "redis-server",
    debian: "redis-server",
    usedBy: /\btestRedis\(|"redis-server"/,
    isPresent: () => runs("redis-server", ["--version"]),
  },
  { name: "openssl", debian: "openssl", usedBy: /"openssl"/, isPresent: () => runs("openssl", ["version"]) },
  { name: "grpc for Python", debian: "python3-grpcio", usedBy: /\bpython3\b/, isPresent: () => imports("grpc") },
  {
    name: "protobuf for Python",
    debian: "python3-protobuf",
    usedBy: /\bpython3\b/,
    isPresent: () => imports("google.protobuf"),
  },
  {
    name: "cryptography for Python",
    debian: "python3-cryptography",
    usedBy: /\bpython3\b/,
    isPresent: () => imports("cryptography"),
  },
  {
    name: "protoc",
    debian: "protobuf-compiler",
    usedBy: /\bpython3\b/,
    isPresent: () => runs("protoc", ["--version"]),
  },
  {
    name: "protoc's gRPC plugins",
    debian: "protobuf-compiler-grpc",
    usedBy: /\bpython3\b/,
    isPresent: () => existsSync("/usr/bin/grpc_python_plugin"),
  },
  { name: "prlimit", debian: "util-linux", usedBy: /"prlimit"/, isPresent: () => runs("prlimit", ["--version"]) },
  { name: "chromium", debian: "chromium", usedBy: /"chromium"/, isPresent: () => runs("chromium", ["--version"]) },
  { name: "promtool", debian: "prometheus", usedBy: /"promtool"/, isPresent: () => runs("promtool", ["--version"]) },
  { name: "softhsm2", debian: "softhsm2", usedBy: /softhsm2/, isPresent: () => runs("softhsm2-util", ["--version"]) },
];

function runs(program: string, args: string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}

function imports(module: string): boolean {
  return existsSync(python) && runs(python, ["-c", `import ${module}`]);
}

/** The packages that the text of a test file asks for and that are not there. */
export function missingFor(source: string, missing: SystemPackage[]): SystemPackage[] {
  return missing.filter((wanted) => wanted.usedBy.test(source));
}

/**
 * Installs what is missing where that is possible (Debian, as root), and returns what is missing still.
 * @param wanted the packages that the test files of this run need
 */
export function installMissing(wanted: SystemPackage[], say: (line: string) => void): SystemPackage[] {
  const missing = wanted.filter((one) => !one.isPresent());
  if (missing.length === 0 || process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) return missing;
  const names = missing.map((one) => one.debian);
  say(`installing Debian packages: ${names.join(" ")}`);
  const install = ["install", "-y", "--no-install-recommends", ...names];
  // The package lists of a slim image are empty or old: then they are fetched first.
  if (!aptGet(install) && aptGet(["update"])) aptGet(install);
  return missing.filter((one) => !one.isPresent());
}

function aptGet(args: string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync("apt-get", ["-qq", ...args], { stdio: "ignore", env }).status === 0;
}
