import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  address,
  ConfigError,
  type ConfigSpec,
  choice,
  commonSettings,
  decimal,
  describeConfig,
  durationMs,
  filePath,
  flag,
  grpcTarget,
  integer,
  isLoopback,
  origins,
  readConfig,
  readServiceConfig,
  secretFile,
  text,
  url,
} from "./index.ts";

function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "fujie-config-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

/** The problems that reading the environment gives, as "NAME problem". */
function problemsOf(env: Readonly<Record<string, string>>, spec: ConfigSpec): readonly string[] {
  try {
    readConfig(env, spec);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ name, problem }) => `${name} ${problem}`);
  }
}

/** Whether each text is accepted by one setting. */
function accepted(setting: ConfigSpec[string], texts: readonly string[]): readonly string[] {
  return texts.filter((value) => problemsOf({ FUJIE_VALUE: value }, { value: setting }).length === 0);
}

test("values come typed, named, defaulted and frozen", () => {
  const spec = {
    grpcAddress: address(),
    mode: choice(["fast", "slow"]),
    poolMax: integer({ min: 1, max: 9 }).default("4"),
    traceRatio: decimal({ min: 0, max: 1 }),
    enabled: flag(),
    name: text().optional(),
    drainTimeoutMs: durationMs({ min: 0, max: 1_000 }).default("250"),
  };
  const config = readConfig(
    {
      FUJIE_GRPC_ADDRESS: "[::1]:50051",
      FUJIE_MODE: "slow",
      FUJIE_TRACE_RATIO: "0.25",
      FUJIE_ENABLED: "false",
      PATH: "/bin",
    },
    spec,
  );
  const mode: "fast" | "slow" = config.mode;
  assert.equal(mode, "slow");
  assert.deepEqual(config, {
    grpcAddress: { host: "::1", port: 50_051 },
    mode: "slow",
    poolMax: 4,
    traceRatio: 0.25,
    enabled: false,
    name: undefined,
    drainTimeoutMs: 250,
  });
  assert.ok(Object.isFrozen(config));
});

test("everything that is malformed, missing, empty or unknown is listed by name in one error", () => {
  const spec = { port: integer({ min: 1, max: 9 }), host: text(), mode: choice(["a", "b"]), extra: text().optional() };
  assert.deepEqual(
    problemsOf({ FUJIE_PORT: "ten", FUJIE_MODE: "c", FUJIE_EXTRA: "", FUJIE_PROT: "1", FUJIE_: "x", OTHER: "y" }, spec),
    [
      "FUJIE_ is unknown",
      "FUJIE_EXTRA is empty",
      "FUJIE_HOST is missing",
      "FUJIE_MODE must be a | b",
      "FUJIE_PORT must be integer 1 to 9",
      "FUJIE_PROT is unknown",
    ],
  );
});

test("no value is ever echoed, neither in the message nor anywhere on the error", (t) => {
  const canary = "CANARY-4711";
  const spec = {
    databaseUrl: url({ protocols: ["postgres"] }),
    secret: secretFile(),
    port: integer({ min: 1, max: 9 }),
    address: address(),
    choice: choice(["a"]),
    origins: origins(),
    target: grpcTarget(),
    path: filePath({ exists: true }),
  };
  const env = Object.fromEntries(Object.keys(spec).map((key) => [`FUJIE_${key.toUpperCase()}`, canary]));
  assert.throws(
    () => readConfig({ ...env, FUJIE_DATABASE_URL: `mysql://user:${canary}@host/db`, FUJIE_UNKNOWN: canary }, spec),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.ok(error.problems.length >= 9);
      assert.doesNotMatch(`${error.stack}${JSON.stringify(error, Object.getOwnPropertyNames(error))}`, /CANARY/);
      return true;
    },
  );
  const file = join(temporaryDir(t), "secret");
  writeFileSync(file, `${canary}\n`, { mode: 0o600 });
  const config = readConfig({ FUJIE_SECRET: file }, { secret: secretFile() });
  assert.equal(config.secret.export().toString(), canary);
  assert.doesNotMatch(JSON.stringify(config), /CANARY/);
  chmodSync(file, 0o644);
  assert.equal(problemsOf({ FUJIE_SECRET: file }, { secret: secretFile() }).length, 1);
});

test("each kind takes exactly what it says", (t) => {
  const file = join(temporaryDir(t), "file");
  writeFileSync(file, "x");
  assert.deepEqual(
    accepted(integer({ min: -1, max: 10 }), ["-1", "10", "11", "1e1", " 1", "1.0", "0x1", "1_0", "NaN"]),
    ["-1", "10"],
  );
  assert.deepEqual(accepted(decimal({ min: 0, max: 1 }), ["0", "0.5", "1", "1.1", ".5", "Infinity", "1e-1"]), [
    "0",
    "0.5",
    "1",
  ]);
  assert.deepEqual(accepted(durationMs({ min: 0, max: 10 }), ["5", "5s", "-1", "11"]), ["5"]);
  assert.deepEqual(accepted(flag(), ["true", "false", "1", "TRUE", "yes"]), ["true", "false"]);
  assert.deepEqual(
    accepted(address(), [
      "localhost:1",
      "10.0.0.1:0",
      "[::1]:65535",
      "::1:80",
      "host",
      "host:",
      ":80",
      "h:65536",
      "a b:1",
      "[x]:1",
      "-a:1",
    ]),
    ["localhost:1", "10.0.0.1:0", "[::1]:65535"],
  );
  assert.deepEqual(
    accepted(url({ protocols: ["https"] }), ["https://a/b", "http://a", "a", "https://", "https:// a"]),
    ["https://a/b"],
  );
  assert.deepEqual(
    accepted(url({ protocols: ["redis", "redis+sentinel"], manyHosts: true }), [
      "redis://:password@a:1/0",
      "redis+sentinel://a:1,b:2,c:3/main",
      "redis://a:1,b:99999999/0",
      "mongodb://a:1,b:2",
    ]),
    ["redis://:password@a:1/0", "redis+sentinel://a:1,b:2,c:3/main"],
  );
  assert.deepEqual(accepted(grpcTarget(), ["dns:///auth:50051", "ipv4:127.0.0.1:1", "auth:50051", "unix:/tmp/x"]), [
    "dns:///auth:50051",
    "ipv4:127.0.0.1:1",
  ]);
  assert.deepEqual(
    accepted(origins(), [
      "https://a.cn",
      "https://a.cn, https://b.cn:8443",
      "*",
      "https://a.cn/",
      "null",
      "ftp://a",
      "https://*.a.cn/x",
    ]),
    ["https://a.cn", "https://a.cn, https://b.cn:8443"],
  );
  assert.deepEqual(accepted(filePath({ exists: true }), [file, `${file}-absent`, tmpdir()]), [file]);
});

test("a default is judged like a value that was set", () => {
  assert.throws(() => integer({ min: 1, max: 9 }).default("10"));
});

/** An environment in which every common setting that has no default is set. */
function commonEnvironment(t: TestContext): Record<string, string> {
  const dir = temporaryDir(t);
  const file = join(dir, "file");
  writeFileSync(file, "x");
  return {
    FUJIE_GRPC_ADDRESS: "0.0.0.0:50051",
    FUJIE_HTTP_ADDRESS: "0.0.0.0:8443",
    FUJIE_ADMIN_ADDRESS: "0.0.0.0:9090",
    FUJIE_TLS_CERT_FILE: file,
    FUJIE_TLS_KEY_FILE: file,
    FUJIE_TLS_CA_FILE: file,
    FUJIE_DATABASE_URL: "postgres://registry@localhost/registry",
    FUJIE_ISSUER: "https://auth.example.cn",
    FUJIE_KEYS_DIR: dir,
    FUJIE_KEY_BUNDLE_FILE: file,
    FUJIE_KEY_BUNDLE_ROOT_FILE: file,
  };
}

test("what is not explicitly the sandbox is production, with TLS and a little tracing", (t) => {
  const config = readServiceConfig(commonEnvironment(t), { queueMax: integer({ min: 1, max: 9 }).default("3") });
  assert.equal(config.environment, "production");
  assert.equal(config.httpTls, true);
  assert.equal(config.traceRatio, 0.01);
  assert.equal(config.redisUrl, undefined);
  assert.equal(config.queueMax, 3);
});

test("clear text is for loopback: HTTP without TLS and an http issuer are refused elsewhere", (t) => {
  const env = commonEnvironment(t);
  const problems = (change: Readonly<Record<string, string>>): readonly string[] => {
    try {
      readServiceConfig({ ...env, ...change }, {});
      return [];
    } catch (error) {
      assert.ok(error instanceof ConfigError);
      return error.problems.map(({ name }) => name);
    }
  };
  assert.deepEqual(problems({ FUJIE_HTTP_TLS: "false" }), ["FUJIE_HTTP_TLS"]);
  assert.deepEqual(problems({ FUJIE_HTTP_TLS: "false", FUJIE_HTTP_ADDRESS: "127.0.0.1:8080" }), []);
  assert.deepEqual(problems({ FUJIE_ISSUER: "http://auth.example.cn" }), ["FUJIE_ISSUER"]);
  assert.deepEqual(problems({ FUJIE_ISSUER: "http://localhost:8080", FUJIE_JWKS_URL: "http://10.0.0.1/" }), [
    "FUJIE_JWKS_URL",
  ]);
});

test("only this machine's addresses are loopback", () => {
  const hosts = ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"];
  assert.deepEqual(hosts.filter(isLoopback), hosts);
  const others = ["0.0.0.0", "::", "10.0.0.1", "localhost.evil.cn", "127.0.0.1.evil.cn", "", "::ffff:10.0.0.1"];
  assert.deepEqual(others.filter(isLoopback), []);
});

test("every common setting is described, with its variable's name", () => {
  const rows = describeConfig(commonSettings);
  assert.equal(rows.length, Object.keys(commonSettings).length);
  assert.ok(rows.every((row) => /^FUJIE_[A-Z_]+$/.test(row.name) && row.description !== "" && row.kind !== ""));
  assert.deepEqual(
    rows.find((row) => row.name === "FUJIE_DRAIN_TIMEOUT_MS"),
    {
      name: "FUJIE_DRAIN_TIMEOUT_MS",
      kind: "milliseconds, 0 to 600000",
      required: false,
      default: "10000",
      secret: false,
      description: "How long calls may end on shutdown.",
    },
  );
});
