import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { dirname, resolve } from "node:path";
import { parseVerifierKey, type Verifier } from "@fujie/transparency";

/** A log that the witness watches. */
export interface WitnessLog {
  readonly origin: string;
  /** Its keys as text (`name+keyid+key`); one good signature by any of them makes a checkpoint the log's. */
  readonly verifierKeys: readonly string[];
}

/** The witness's settings as they stand in its file (JSON). Paths are relative to the file. */
export interface WitnessConfig {
  /** Name of the witness in its cosignatures: a URL without a scheme. */
  readonly name: string;
  /** "host:port". Anything but loopback needs `tls`. */
  readonly listen: string;
  readonly keyFile: string;
  /** The database file of what was cosigned. It is made at the first start; never put an older one back. */
  readonly stateFile: string;
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  readonly logs: readonly WitnessLog[];
}

/** The settings, checked. */
export interface Settings {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly keyFile: string;
  readonly stateFile: string;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly logs: ReadonlyMap<string, readonly Verifier[]>;
}

/** A setting is missing, unknown or malformed; the message names it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Reads the witness's settings. Errors: ConfigError, and those of reading a file. */
export function readSettings(file: string): Settings {
  const given = objectOf(parseJson(readFileSync(file, "utf8")), "the file");
  const path = (value: unknown, field: string) => resolve(dirname(file), textOf(value, field));
  const { name, listen, keyFile, stateFile, tls, logs, ...unknown } = given;
  requireNone(unknown, "");
  const [, host = "", digits = ""] = /^(.+):(\d{1,5})$/.exec(textOf(listen, "listen")) ?? [];
  const port = Number(digits);
  if (host === "" || port > 65_535) throw new ConfigError("listen: must be host:port");
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (tls === undefined && !isLoopback(bare)) throw new ConfigError("tls: needed beyond loopback");
  return {
    name: textOf(name, "name"),
    host: bare,
    port,
    keyFile: path(keyFile, "keyFile"),
    stateFile: path(stateFile, "stateFile"),
    tls: tls === undefined ? undefined : tlsOf(objectOf(tls, "tls"), path),
    logs: logsOf(logs),
  };
}

function tlsOf(
  { certFile, keyFile, ...unknown }: Record<string, unknown>,
  path: (value: unknown, field: string) => string,
): NonNullable<Settings["tls"]> {
  requireNone(unknown, "tls.");
  return { certFile: path(certFile, "tls.certFile"), keyFile: path(keyFile, "tls.keyFile") };
}

function logsOf(given: unknown): Settings["logs"] {
  const logs = new Map<string, readonly Verifier[]>();
  for (const [at, each] of listOf(given, "logs").entries()) {
    const { origin, verifierKeys, ...unknown } = objectOf(each, `logs[${at}]`);
    requireNone(unknown, `logs[${at}].`);
    const name = textOf(origin, `logs[${at}].origin`);
    const keys = listOf(verifierKeys, `logs[${at}].verifierKeys`);
    if (logs.has(name)) throw new ConfigError(`logs[${at}].origin: stands twice`);
    logs.set(
      name,
      keys.map((key, position) => verifierOf(key, `logs[${at}].verifierKeys[${position}]`)),
    );
  }
  return logs;
}

function verifierOf(key: unknown, field: string): Verifier {
  const verifier = attempt(() => parseVerifierKey(textOf(key, field)));
  if (verifier === undefined || verifier.algorithm === "cosignature/v1")
    throw new ConfigError(`${field}: is not a log's key`);
  return verifier;
}

function parseJson(text: string): unknown {
  const value = attempt<unknown>(() => JSON.parse(text));
  if (value === undefined) throw new ConfigError("the file: is not JSON");
  return value;
}

function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ConfigError(`${field}: must be an object`);
  return Object.fromEntries(Object.entries(value));
}

function listOf(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new ConfigError(`${field}: must be a list that is not empty`);
  return value;
}

function textOf(value: unknown, field: string): string {
  if (typeof value !== "string" || value === "") throw new ConfigError(`${field}: must be a text`);
  return value;
}

function requireNone(unknown: Record<string, unknown>, prefix: string): void {
  const [field] = Object.keys(unknown);
  if (field !== undefined) throw new ConfigError(`${prefix}${field}: is not known`);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
