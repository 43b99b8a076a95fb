/**
 * From the environment to a typed configuration. Every setting is named once, in a spec:
 *
 *   { drainTimeoutMs: durationMs({ min: 0, max: 600_000 }).default("10000") }    reads FUJIE_DRAIN_TIMEOUT_MS
 *
 * Everything that is wrong is told at once, by name, and nothing starts: an ignored typing error is how a setting that
 * was meant to protect does not.
 */
import { type Setting, SettingProblem } from "./setting.ts";

export type ConfigSpec = Readonly<Record<string, Setting<unknown>>>;

export type ConfigOf<Spec extends ConfigSpec> = {
  readonly [Name in keyof Spec]: Spec[Name] extends Setting<infer Value> ? Value : never;
};

export interface ConfigProblem {
  /** FUJIE_… */
  readonly name: string;
  /** "must be …", "is missing", "is unknown"; never the value. */
  readonly problem: string;
}

/** Everything that is wrong with the environment. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(["The configuration is wrong:", ...problems.map(({ name, problem }) => `  ${name} ${problem}`)].join("\n"));
    this.problems = problems;
  }
}

/** A rule over several settings: gives the problems it finds. */
export type ConfigRule<Spec extends ConfigSpec> = (config: ConfigOf<Spec>) => readonly ConfigProblem[];

export interface SettingRow {
  readonly name: string;
  readonly kind: string;
  readonly required: boolean;
  readonly default: string | undefined;
  readonly secret: boolean;
  readonly description: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const PREFIX = "FUJIE_";

/** "httpAllowedOrigins" → "FUJIE_HTTP_ALLOWED_ORIGINS" */
export function variableOf(settingName: string): string {
  return PREFIX + settingName.replace(/[A-Z]/g, "_$&").toUpperCase();
}

/**
 * Reads the settings of `spec` from `env` and checks `rules` over them. Throws one ConfigError that lists every
 * missing, empty, malformed and unknown FUJIE_ variable.
 */
export function readConfig<const Spec extends ConfigSpec>(
  env: Environment,
  spec: Spec,
  rules: readonly ConfigRule<Spec>[] = [],
): ConfigOf<Spec> {
  const problems = unknownVariables(env, spec);
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(spec)) {
    const name = variableOf(key);
    const read = readSetting(env[name], setting);
    if ("problem" in read) problems.push({ name, problem: read.problem });
    else values[key] = read.value;
  }
  if (problems.length === 0 && isComplete(values, spec)) {
    for (const rule of rules) problems.push(...rule(values));
    if (problems.length === 0) return Object.freeze(values);
  }
  throw new ConfigError(problems.toSorted((a, b) => (a.name < b.name ? -1 : 1)));
}

/** One row per setting, for the documentation and --check-config. Holds no value of any environment. */
export function describeConfig(spec: ConfigSpec): readonly SettingRow[] {
  return Object.entries(spec).map(([key, { kind, required, defaultText, secret, description }]) => ({
    name: variableOf(key),
    kind,
    required,
    default: defaultText,
    secret,
    description,
  }));
}

function unknownVariables(env: Environment, spec: ConfigSpec): ConfigProblem[] {
  const known = new Set(Object.keys(spec).map(variableOf));
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && env[name] !== undefined && !known.has(name))
    .map((name) => ({ name, problem: "is unknown" }));
}

type Read = { readonly value: unknown } | { readonly problem: string };

function readSetting(value: string | undefined, { absent, parse }: Setting<unknown>): Read {
  if (value === undefined) return absent ?? { problem: "is missing" };
  if (value === "") return { problem: "is empty" };
  try {
    return { value: parse(value) };
  } catch (error) {
    if (error instanceof SettingProblem) return { problem: error.message };
    throw error;
  }
}

/** Every setting of the spec was read, each by its own parser. */
function isComplete<Spec extends ConfigSpec>(values: Record<string, unknown>, spec: Spec): values is ConfigOf<Spec> {
  return Object.keys(spec).every((key) => Object.hasOwn(values, key));
}
