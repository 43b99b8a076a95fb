/**
 * Kinds of settings. Each turns the text of an environment variable into a value, or says what it should have been.
 * A problem never repeats the text: it may be a secret.
 */
import { createSecretKey, type KeyObject } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { readTrustedProxies, type TrustedProxies } from "../serve/network.ts";

export interface Setting<Value> {
  /** What the value looks like, for documentation: "integer 1 to 100". */
  readonly kind: string;
  readonly description: string;
  readonly secret: boolean;
  readonly required: boolean;
  /** The default as it would be written, if there is one. */
  readonly defaultText: string | undefined;
  /** What an absent variable means, when it may be absent. */
  readonly absent: { readonly value: Value } | undefined;
  /** Throws SettingProblem. */
  readonly parse: (text: string) => Value;
  optional(): Setting<Value | undefined>;
  /** The default, as it would be written in the environment; it is parsed like a set value. */
  default(text: string): Setting<Value>;
  doc(description: string): Setting<Value>;
}

/** What a text should have been. Thrown by parsers, collected by readConfig. */
export class SettingProblem extends Error {
  override readonly name = "SettingProblem";
}

interface Kind<Value> {
  readonly kind: string;
  readonly parse: (text: string) => Value;
  readonly secret?: boolean;
}

interface Presence<Value> {
  readonly description: string;
  readonly defaultText: string | undefined;
  readonly absent: { readonly value: Value } | undefined;
}

/** Makes a setting of one's own kind; `parse` throws SettingProblem("must be …"). */
export function setting<Value>(kind: Kind<Value>): Setting<Value> {
  return settingOf(kind, { description: "", defaultText: undefined, absent: undefined });
}

function settingOf<Value>(kind: Kind<Value>, presence: Presence<Value>): Setting<Value> {
  return {
    kind: kind.kind,
    parse: kind.parse,
    secret: kind.secret ?? false,
    required: presence.absent === undefined,
    ...presence,
    optional: () => settingOf<Value | undefined>(kind, { ...presence, absent: { value: undefined } }),
    default: (text) => settingOf(kind, { ...presence, defaultText: text, absent: { value: kind.parse(text) } }),
    doc: (description) => settingOf(kind, { ...presence, description }),
  };
}

export function text(options: { readonly pattern?: RegExp; readonly kind?: string } = {}): Setting<string> {
  const { pattern, kind = "text" } = options;
  return setting({
    kind,
    parse: (value) => (pattern === undefined || pattern.test(value) ? value : refuse(`must be ${kind}`)),
  });
}

export function integer(range: { readonly min: number; readonly max: number }): Setting<number> {
  return numberSetting(`integer ${range.min} to ${range.max}`, /^-?\d{1,15}$/, range);
}

export function decimal(range: { readonly min: number; readonly max: number }): Setting<number> {
  return numberSetting(`number ${range.min} to ${range.max}`, /^-?\d{1,15}(\.\d{1,15})?$/, range);
}

/** A length of time, always in whole milliseconds. */
export function durationMs(range: { readonly min: number; readonly max: number }): Setting<number> {
  return numberSetting(`milliseconds, ${range.min} to ${range.max}`, /^\d{1,15}$/, range);
}

function numberSetting(kind: string, form: RegExp, range: { readonly min: number; readonly max: number }) {
  return setting({
    kind,
    parse(value) {
      const number = Number(value);
      const fits = form.test(value) && number >= range.min && number <= range.max;
      return fits ? number : refuse(`must be ${kind}`);
    },
  });
}

/** Exactly "true" or "false". */
export function flag(): Setting<boolean> {
  return setting({
    kind: "true or false",
    parse: (value) => value === "true" || (value !== "false" && refuse("must be true or false")),
  });
}

export function choice<const Choice extends string>(choices: readonly Choice[]): Setting<Choice> {
  const kind = choices.join(" | ");
  return setting({ kind, parse: (value) => choices.find((known) => known === value) ?? refuse(`must be ${kind}`) });
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

const HOST_NAME = /^(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$/;

/** "host:port" or "[::1]:port"; port 0 lets the system choose. */
export function address(): Setting<Address> {
  return setting({
    kind: "host:port",
    parse(value) {
      const [, ipv6, name, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value) ?? [];
      const host = ipv6 ?? name;
      const port = Number(digits);
      const named = ipv6 === undefined ? HOST_NAME.test(name ?? "") : isIP(ipv6) === 6;
      if (host === undefined || !named || port > 65_535) return refuse("must be host:port");
      return Object.freeze({ host, port });
    },
  });
}

export interface UrlOptions {
  /** Without the colon: ["https"]. */
  readonly protocols: readonly string[];
  /** Several "host:port", separated by commas, where one stands (clusters, sentinels). */
  readonly manyHosts?: boolean;
}

/** A URL as text. Its user information, if any, is never shown. */
export function url({ protocols, manyHosts = false }: UrlOptions): Setting<string> {
  const kind = `URL (${protocols.join(", ")})`;
  return setting({
    kind,
    parse(value) {
      const isKnown = (one: string) => {
        const parsed = URL.canParse(one) ? new URL(one) : undefined;
        return parsed !== undefined && protocols.includes(parsed.protocol.slice(0, -1)) && parsed.host !== "";
      };
      const known = (manyHosts ? withEachHost(value) : [value]).every(isKnown);
      return known ? value : refuse(`must be a ${kind}`);
    },
  });
}

/** "redis://user@a:1,b:2/0" → "redis://user@a:1/0", "redis://user@b:2/0" */
function withEachHost(value: string): readonly string[] {
  const [, before, hosts, after] = /^([a-z+.-]+:\/\/(?:[^@/]*@)?)([^/?#]*)(.*)$/.exec(value) ?? [];
  return hosts === undefined ? [value] : hosts.split(",").map((host) => `${before}${host}${after}`);
}

/** A gRPC target: "dns:///host:port" or "ipv4:127.0.0.1:port". */
export function grpcTarget(): Setting<string> {
  return text({
    pattern: /^(dns:\/\/\/[^\s/]+:\d{1,5}|ipv[46]:[^\s]+:\d{1,5})$/,
    kind: "gRPC target, dns:///host:port",
  });
}

/** Web origins, separated by commas: "https://app.example.cn,https://other.example.cn:8443". No wildcard. */
export function origins(): Setting<readonly string[]> {
  return setting({
    kind: "origins, separated by commas",
    parse(value) {
      const listed = value.split(",").map((origin) => origin.trim());
      const isOrigin = (origin: string) =>
        /^https?:/.test(origin) && URL.canParse(origin) && new URL(origin).origin === origin;
      return listed.every(isOrigin)
        ? Object.freeze(listed)
        : refuse("must be origins such as https://host, no wildcard");
    },
  });
}

export function filePath(options: { readonly exists?: boolean } = {}): Setting<string> {
  return setting({
    kind: "path of a file",
    parse(path) {
      if (options.exists === true && !isA("file", path)) return refuse("must name an existing file");
      return path;
    },
  });
}

export function directoryPath(options: { readonly exists?: boolean } = {}): Setting<string> {
  return setting({
    kind: "path of a directory",
    parse(path) {
      if (options.exists === true && !isA("directory", path)) return refuse("must name an existing directory");
      return path;
    },
  });
}

function isA(what: "file" | "directory", path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return (what === "file" ? found?.isFile() : found?.isDirectory()) ?? false;
}

/** The path of a file that holds a secret; its contents (without the last line end) as a KeyObject, which no log shows. */
export function secretFile(): Setting<KeyObject> {
  return setting({
    kind: "path of a file with a secret",
    secret: true,
    parse(path) {
      if (!isA("file", path)) return refuse("must name an existing file");
      if ((statSync(path).mode & 0o007) !== 0) return refuse("must name a file that not everybody can read");
      const contents = readFileSync(path);
      const end = contents.at(-1) === 0x0a ? contents.length - 1 : contents.length;
      if (end === 0) return refuse("must name a file that is not empty");
      return createSecretKey(contents.subarray(0, end));
    },
  });
}

function refuse(problem: string): never {
  throw new SettingProblem(problem);
}

/** Networks in CIDR form or addresses, separated by commas. */
export function networks(): Setting<TrustedProxies> {
  return setting({
    kind: "networks, separated by commas",
    parse: (value) => {
      try {
        return readTrustedProxies(value);
      } catch {
        return refuse("must be networks in CIDR form, separated by commas");
      }
    },
  });
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether only this machine can reach a listener on that host. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const family = isIP(bare);
  if (family === 0) return bare.toLowerCase() === "localhost";
  return loopback.check(bare, family === 6 ? "ipv6" : "ipv4");
}
