// Which module may import which: the house of docs as rules.
// Every rule is proved to fire by scripts/import-rules.test.ts.

const tests = "([.](test|long)[.]ts$|(^|/)tests/)";
/** Modules of Node that reach outside the process. */
const io =
  "^(node:)?(fs|net|http|https|http2|tls|dgram|dns|child_process|cluster|worker_threads|readline|repl|inspector)(/|$)";
const service = "^services/[^/]+/src/";

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      comment: "A module can be understood without the ones above it; type imports count too.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-orphans",
      comment: "What nobody imports and nobody starts is dead.",
      severity: "error",
      from: {
        orphan: true,
        pathNot: [tests, "[.]d[.]ts$", "/gen/", "(^|/)(main|index|server)[.]ts$", "^scripts/"],
      },
      to: {},
    },
    {
      name: "no-unresolved",
      comment: "An import that leads nowhere hides from every other rule.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: "no-rooms-without-a-noun",
      comment: "A thing is named by what it is, never by where it was left.",
      severity: "error",
      from: {},
      to: { path: "(^|/)(utils?|helpers?|common|shared)(/|[.]ts$)", pathNot: "(^|/)node_modules/" },
    },
    {
      name: "no-tests-in-production",
      comment: "Production code imports no tests and nothing made for tests.",
      severity: "error",
      from: { pathNot: [tests, "^(scripts|bench)/"] },
      to: { path: [tests, "^packages/embedded/src/testing[.]ts$"] },
    },
    {
      name: "rules-are-pure",
      comment: "Rules are functions over values: no store, context, handler, database or input and output.",
      severity: "error",
      from: { path: "(^|/)rules[.]ts$" },
      to: {
        path: [
          "(^|/)(store|context|rpc|server|main|config)[.]ts$",
          "^packages/kit/src/(db|clients|outbox|feed|serve|egress|ephemeral)/",
          "(^|/)node_modules/(pg|ioredis|@grpc/grpc-js|@connectrpc/connect-node)/",
          io,
        ],
      },
    },
    {
      name: "store-below-rpc",
      comment: "entry → rpc → rules and store: a store knows no handler.",
      severity: "error",
      from: { path: "(^|/)store[.]ts$" },
      to: { path: "(^|/)(rpc|server|main)[.]ts$" },
    },
    {
      name: "rpc-below-entry",
      comment: "entry → rpc: a handler does not know who starts it.",
      severity: "error",
      from: { path: service, pathNot: [tests, "/(main|server)[.]ts$"] },
      to: { path: `${service}(main|server)[.]ts$` },
    },
    {
      name: "rpc-is-only-for-the-entry",
      comment: "Slices meet in their rules and stores; handlers are put together by the server alone.",
      severity: "error",
      from: { path: service, pathNot: [tests, "(^|/)(main|server|store)[.]ts$", "(^|/)rpc([.]ts$|/)"] },
      to: { path: "^services/.+/rpc([.]ts$|/)" },
    },
    {
      name: "services-apart",
      comment: "Services meet over the wire, never in memory.",
      severity: "error",
      from: { path: "^services/([^/]+)/" },
      to: { path: "^services/([^/]+)/", pathNot: "^services/$1/" },
    },
    {
      name: "pure-packages",
      comment: "identity, transparency and certificates are rules without input or output, and know no service kit.",
      severity: "error",
      from: { path: "^packages/(identity|transparency|certificates)/", pathNot: tests },
      to: { path: [io, "^packages/(?!(identity|transparency|certificates)/)", "^(services|sandbox|bench)/"] },
    },
    {
      name: "kit-imports-api-only",
      comment: "The kit is below every service: of ours it knows the generated API alone.",
      severity: "error",
      from: { path: "^packages/kit/", pathNot: tests },
      to: { path: "^(packages/(?!(kit|api)/)|services/|sandbox/|bench/|tests/|scripts/)" },
    },
    {
      name: "api-imports-nothing",
      comment: "Generated code stands on its runtime library alone.",
      severity: "error",
      from: { path: "^packages/api/" },
      to: { path: "^(packages/(?!api/)|services/|sandbox/|bench/|tests/|scripts/)" },
    },
    {
      name: "sandbox-stays-outside",
      comment:
        "The fictional sources can never be linked into a service; tests, benchmarks and the CLI may start them.",
      severity: "error",
      from: { pathNot: [tests, "^(packages/cli|sandbox|bench|scripts)/"] },
      to: { path: "^sandbox/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)(dist|[.]cache)/" },
    // Type-only imports are imports: they are what makes a module impossible to read on its own.
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".js", ".mjs", ".cjs", ".d.ts", ".json"],
    },
  },
};
