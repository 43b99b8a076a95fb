import type { RequestListener } from "node:http";
import type { Clock } from "../clock/index.ts";
import type { Logger } from "../log/index.ts";
import type { Telemetry } from "../telemetry/index.ts";
import type { RevocationList, TokenVerifier } from "../tokens/index.ts";
import type { FindOwners } from "./access.ts";
import { type Address, requireTls } from "./address.ts";
import { openAdminListener } from "./admin-listener.ts";
import { createConnectHandler } from "./connect-handler.ts";
import { type GrpcTls, openGrpcListener } from "./grpc-listener.ts";
import type { Handler } from "./handler.ts";
import { createHealthHandler, createReadiness, type ReadinessCheck } from "./health.ts";
import { type HttpTls, openHttpListener } from "./http-listener.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { createPipeline, type PipelineOptions } from "./pipeline.ts";
import { createReflectionHandler } from "./reflection.ts";
import { prepareMethods, prepareOpenMethods } from "./served-method.ts";

export interface ServerOptions {
  readonly service: string;
  /** Anything that is not "sandbox" is production: no reflection. */
  readonly environment: "production" | "sandbox";
  readonly grpc: { readonly address: Address; readonly tls?: GrpcTls | undefined };
  readonly http: {
    readonly address: Address;
    readonly tls?: HttpTls | undefined;
    readonly allowedOrigins?: readonly string[];
  };
  readonly admin: { readonly address: Address };
  readonly handlers: readonly Handler[];
  readonly tokens: TokenVerifier;
  readonly revocations: Pick<RevocationList, "isStale">;
  /** By the `resource` of the access rules: who owns one. */
  readonly owners?: Readonly<Record<string, FindOwners>>;
  readonly telemetry: Telemetry;
  readonly log: Logger;
  readonly clock: Clock;
  readonly ready?: readonly ReadinessCheck[];
  readonly limits?: Partial<Limits>;
  /** Serves the HTTP paths that are no methods: sign-in pages, tiles. */
  readonly mountHttp?: RequestListener;
  readonly onForbidden?: PipelineOptions["onForbidden"];
  readonly trustedProxies?: PipelineOptions["trustedProxies"];
  /** How long calls under way may still take when the server stops. */
  readonly drainTimeoutMs?: number;
}

export interface RunningServer extends AsyncDisposable {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly adminPort: number;
  /** Stops gracefully: not ready → no new connections (GOAWAY) → calls under way finish → closed. */
  drain(): Promise<void>;
  /** Stops now: cuts what is under way. */
  close(): Promise<void>;
}

/**
 * Serves handlers by gRPC, Connect and gRPC-Web behind one pipeline, with health, metrics and limits.
 * Refuses to start when a method's access rule could not be enforced, a validation rule does not compile, or a
 * listener beyond loopback has no TLS.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  requireTls("gRPC", options.grpc.address, options.grpc.tls !== undefined);
  requireTls("HTTP", options.http.address, options.http.tls !== undefined);
  const limits: Limits = { ...defaultLimits, ...options.limits };
  const readiness = createReadiness(options.ready ?? []);
  const methods = prepareAll(options, readiness);
  const pipeline = createPipeline(options);

  await using opened = new AsyncDisposableStack();
  const grpc = await openGrpcListener({ ...options.grpc, tls: options.grpc.tls, limits, methods, pipeline });
  opened.defer(() => grpc.drain(0));
  const http = await openHttpListener({
    address: options.http.address,
    tls: options.http.tls,
    allowedOrigins: options.http.allowedOrigins ?? [],
    limits,
    serve: createConnectHandler({ methods, pipeline, limits, log: options.log }),
    mount: options.mountHttp,
  });
  opened.defer(() => http.drain(0));
  const admin = await openAdminListener(options.admin.address, readiness, options.telemetry);
  opened.move();

  let stopping: Promise<void> | undefined;
  async function stop(timeoutMs: number): Promise<void> {
    readiness.stop();
    pipeline.drain();
    await Promise.all([grpc.drain(timeoutMs), http.drain(timeoutMs)]);
    await admin.close();
    options.log.info({ service: options.service }, "stopped");
  }
  const stopOnce = (timeoutMs: number): Promise<void> => {
    stopping ??= stop(timeoutMs);
    return stopping;
  };
  options.log.info({ service: options.service, grpc: grpc.port, http: http.port, admin: admin.port }, "serving");
  return {
    grpcPort: grpc.port,
    httpPort: http.port,
    adminPort: admin.port,
    drain: () => stopOnce(options.drainTimeoutMs ?? 10_000),
    close: () => stopOnce(0),
    [Symbol.asyncDispose]: () => stopOnce(0),
  };
}

function prepareAll(options: ServerOptions, readiness: ReturnType<typeof createReadiness>) {
  const { handlers, environment } = options;
  const services = handlers.map(({ service }) => service);
  const health = createHealthHandler(readiness, new Set(services.map(({ typeName }) => typeName)));
  const reflection = environment === "sandbox" ? [createReflectionHandler([...services, health.service])] : [];
  const prepared = [
    ...handlers.flatMap((each) => prepareMethods(each, options.owners ?? {})),
    ...[health, ...reflection].flatMap(prepareOpenMethods),
  ];
  const methods = new Map(prepared.map((served) => [served.path, served]));
  if (methods.size !== prepared.length) throw new Error("a service is served twice");
  return methods;
}

/** Waits for SIGTERM or SIGINT, then drains the server. A second signal cuts what is left. */
export async function runUntilSignal(server: Pick<RunningServer, "drain" | "close">): Promise<void> {
  const stopNow = () => process.exit(1);
  await new Promise<void>((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  process.once("SIGTERM", stopNow);
  process.once("SIGINT", stopNow);
  await server.drain();
}
