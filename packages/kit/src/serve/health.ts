import { DomainError } from "../errors/index.ts";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "./gen/grpc/health/v1/health_pb.js";
import { type Handler, handler } from "./handler.ts";

/** One thing that must hold before the service takes calls, by its name on /readyz. */
export interface ReadinessCheck {
  readonly name: string;
  isReady(): boolean | Promise<boolean>;
}

export interface Readiness {
  /** The state of every check; a check that throws or takes longer than a second is not ready. */
  read(): Promise<{ ready: boolean; checks: Record<string, boolean> }>;
  /** From now on the service is not ready, whatever its checks say. */
  stop(): void;
}

const checkTimeoutMs = 1000;

export function createReadiness(checks: readonly ReadinessCheck[]): Readiness {
  let stopped = false;
  return {
    async read() {
      const results = await Promise.all(checks.map(async (check) => [check.name, await isReady(check)] as const));
      const all = Object.fromEntries([["serving", !stopped] as const, ...results]);
      return { ready: Object.values(all).every(Boolean), checks: all };
    },
    stop() {
      stopped = true;
    },
  };
}

async function isReady(check: ReadinessCheck): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, checkTimeoutMs, false);
  });
  try {
    return await Promise.race([late, Promise.resolve(check.isReady())]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

const watchIntervalMs = 1000;

/** grpc.health.v1 (github.com/grpc/grpc, doc/health-checking.md): "" stands for the whole server, other names for the services it serves. */
export function createHealthHandler(readiness: Readiness, services: ReadonlySet<string>): Handler {
  async function statusOf(service: string): Promise<ServingStatus> {
    if (service !== "" && !services.has(service)) return ServingStatus.SERVICE_UNKNOWN;
    return (await readiness.read()).ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }

  return handler(Health, {
    async check({ service }) {
      const status = await statusOf(service);
      // Only a watcher is told so in the answer: the service may come; who asks once gets an error.
      if (status === ServingStatus.SERVICE_UNKNOWN) throw new DomainError("SERVICE_UNKNOWN");
      return { status };
    },
    async list() {
      const names = ["", ...services];
      const statuses = await Promise.all(names.map(async (name) => [name, { status: await statusOf(name) }] as const));
      return { statuses: Object.fromEntries(statuses) };
    },
    async *watch({ service }, call) {
      let last: ServingStatus | undefined;
      while (!call.signal.aborted) {
        const status = await statusOf(service);
        if (status !== last) yield { status };
        last = status;
        await pause(watchIntervalMs, call.signal);
      }
    },
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
