import { readLoopbackAddress } from "./loopback.ts";
import type { SandboxOptions } from "./server.ts";

const PREFIX = "FUJIE_SANDBOX_";
const KNOWN = ["FUJIE_SANDBOX_HTTP_ADDRESS", "FUJIE_SANDBOX_GRPC_ADDRESS", "FUJIE_SANDBOX_DIR"];

/** Settings that the sandbox cannot start with. Names the setting, never its value. */
export class ConfigError extends Error {
  constructor(setting: string, problem: string) {
    super(`${setting} ${problem}`);
    this.name = "ConfigError";
  }
}

/** Reads the environment. Throws ConfigError for unknown, missing and malformed settings. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
): Pick<SandboxOptions, "httpAddress" | "grpcAddress" | "dir" | "tls"> {
  const unknown = Object.keys(env).find((name) => name.startsWith(PREFIX) && !KNOWN.includes(name));
  if (unknown !== undefined) throw new ConfigError(unknown, "is no setting of the sandbox");
  return {
    httpAddress: readAddress(env, "FUJIE_SANDBOX_HTTP_ADDRESS", "127.0.0.1:7052"),
    grpcAddress: readAddress(env, "FUJIE_SANDBOX_GRPC_ADDRESS", "127.0.0.1:7051"),
    dir: required(env, "FUJIE_SANDBOX_DIR"),
    tls: {
      certFile: required(env, "FUJIE_TLS_CERT_FILE"),
      keyFile: required(env, "FUJIE_TLS_KEY_FILE"),
      caFile: required(env, "FUJIE_TLS_CA_FILE"),
    },
  };
}

function readAddress(env: Readonly<Record<string, string | undefined>>, name: string, absent: string): string {
  const address = env[name] ?? absent;
  try {
    readLoopbackAddress(address);
  } catch {
    throw new ConfigError(name, "is not a loopback address with a port, like 127.0.0.1:7052");
  }
  return address;
}

function required(env: Readonly<Record<string, string | undefined>>, name: string): string {
  const value = env[name];
  if (value === undefined || value === "") throw new ConfigError(name, "is missing");
  return value;
}
