import { join } from "node:path";

/** The repository's root: programs are started from there. */
export const REPOSITORY = join(import.meta.dirname, "../../../..");

export const SERVICES = ["auth", "registry", "trust-gateway", "audit"] as const;
export type ServiceName = (typeof SERVICES)[number];

/** Ports of one service: gRPC over TLS, HTTP (Connect, OpenID Connect, tiles), health and metrics. */
export interface ServicePorts {
  readonly grpc: number;
  readonly http: number;
  readonly admin: number;
}

/** Where the embedded platform listens, always on loopback. */
export interface Ports {
  readonly services: Readonly<Record<ServiceName, ServicePorts>>;
  readonly sandbox: { readonly grpc: number; readonly http: number };
  readonly witness: { readonly http: number };
}

/** The ports of docs/design.md, moved by `base` − 7000 so that several platforms fit on one machine. */
export function portsFrom(base: number): Ports {
  const at = (offset: number): ServicePorts => ({
    grpc: base + offset + 1,
    http: base + offset + 2,
    admin: base + offset + 3,
  });
  return {
    services: { auth: at(10), registry: at(20), "trust-gateway": at(30), audit: at(40) },
    sandbox: { grpc: base + 51, http: base + 52 },
    witness: { http: base + 62 },
  };
}

/** What lies where in the platform's data folder. */
export function layout(home: string) {
  return {
    postgres: join(home, "postgres"),
    tls: join(home, "tls"),
    keys: join(home, "keys"),
    sandbox: join(home, "sandbox"),
    logs: join(home, "logs"),
    witness: join(home, "witness"),
    /** The one-time code of the ceremony that binds the first administrators. */
    ceremonyCode: join(home, "ceremony-code"),
    /** What the journey remembers: ids and credentials of its synthetic people. */
    journey: join(home, "journey"),
  };
}

export type Layout = ReturnType<typeof layout>;
