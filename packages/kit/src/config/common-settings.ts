/** The settings that every service of the platform has, and the rules over them. */
import { type ConfigOf, type ConfigProblem, type ConfigRule, type ConfigSpec, readConfig } from "./read-config.ts";
import {
  address,
  choice,
  decimal,
  directoryPath,
  durationMs,
  filePath,
  flag,
  grpcTarget,
  integer,
  isLoopback,
  networks,
  origins,
  url,
} from "./setting.ts";

export const commonSettings = {
  environment: choice(["production", "sandbox"])
    .default("production")
    .doc("Anything that is not explicitly the sandbox is production: no reflection, no sandbox anchors, no demo data."),
  grpcAddress: address().doc("gRPC listener, for platform teams and between services; mutual TLS."),
  httpAddress: address().doc("Connect, gRPC-Web and web pages, for applications and browsers."),
  adminAddress: address().doc("Health and metrics, in clear text, for probes and Prometheus."),
  tlsCertFile: filePath({ exists: true }).doc("Certificate (PEM) of this service, SAN spiffe://fujie/<service>."),
  tlsKeyFile: filePath({ exists: true }).doc("Private key (PEM) of that certificate."),
  tlsCaFile: filePath({ exists: true }).doc("Authorities (PEM) whose peers are accepted."),
  httpTls: flag().default("true").doc("TLS on the HTTP listener; false only on a loopback address."),
  httpAllowedOrigins: origins().optional().doc("Web origins that browsers may call from (CORS); absent: none."),
  proxyNetworks: networks()
    .optional()
    .doc("Networks of reverse proxies whose X-Forwarded-For tells where a call comes from; absent: none is believed."),
  databaseUrl: url({ protocols: ["postgres", "postgresql"] }).doc("The service's database, as its runtime role."),
  migrationDatabaseUrl: url({ protocols: ["postgres", "postgresql"] })
    .optional()
    .doc("The same database as its owner; only for `migrate`."),
  databasePoolMax: integer({ min: 1, max: 500 }).default("16").doc("Connections to the database at most."),
  redisUrl: url({
    protocols: ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"],
    manyHosts: true,
  })
    .optional()
    .doc("Ephemeral state; absent: in memory, for one replica only."),
  issuer: url({ protocols: ["https", "http"] }).doc("The OpenID provider whose access tokens are accepted."),
  jwksUrl: url({ protocols: ["https", "http"] })
    .optional()
    .doc("Where the issuer's keys are, when not below the issuer itself."),
  keysDir: directoryPath({ exists: true }).doc("Directory of this service's key ring."),
  keyBundleFile: filePath({ exists: true }).doc("The signed bundle of all services' public keys."),
  keyBundleRootFile: filePath({ exists: true }).doc("The public key (PEM) that the bundle is signed with."),
  peerAuth: grpcTarget().optional().doc("Where auth is, if this service calls it."),
  peerRegistry: grpcTarget().optional().doc("Where registry is, if this service calls it."),
  peerTrustGateway: grpcTarget().optional().doc("Where trust-gateway is, if this service calls it."),
  peerAudit: grpcTarget().optional().doc("Where audit is, if this service calls it."),
  otlpEndpoint: url({ protocols: ["http", "https"] })
    .optional()
    .doc("OTLP/gRPC collector for traces and metrics."),
  traceRatio: decimal({ min: 0, max: 1 }).default("0.01").doc("Share of new traces that are recorded."),
  logLevel: choice(["debug", "info", "warn", "error"]).default("info").doc("Least level that is logged."),
  drainTimeoutMs: durationMs({ min: 0, max: 600_000 }).default("10000").doc("How long calls may end on shutdown."),
} as const satisfies ConfigSpec;

export type CommonSettings = typeof commonSettings;
export type CommonConfig = ConfigOf<CommonSettings>;

/** Clear text is for loopback, and nobody's tokens come from an issuer in clear text elsewhere. */
export function checkCommonConfig(config: CommonConfig): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  if (!config.httpTls && !isLoopback(config.httpAddress.host)) {
    problems.push({ name: "FUJIE_HTTP_TLS", problem: "must be true: FUJIE_HTTP_ADDRESS is not loopback" });
  }
  for (const [name, address] of Object.entries({ FUJIE_ISSUER: config.issuer, FUJIE_JWKS_URL: config.jwksUrl })) {
    if (address !== undefined && isClearTextElsewhere(address)) {
      problems.push({ name, problem: "must be https, except on loopback" });
    }
  }
  return problems;
}

function isClearTextElsewhere(text: string): boolean {
  const { protocol, hostname } = new URL(text);
  return protocol === "http:" && !isLoopback(hostname);
}

/** What a service's config.ts calls: the common settings and its own, with the common rules and its own. */
export function readServiceConfig<const Own extends ConfigSpec>(
  env: Readonly<Record<string, string | undefined>>,
  own: Own,
  rules: readonly ConfigRule<CommonSettings & Own>[] = [],
): ConfigOf<CommonSettings & Own> {
  return readConfig<CommonSettings & Own>(env, { ...commonSettings, ...own }, [checkCommonConfig, ...rules]);
}
