import type { DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import { Client as Channel, type ChannelCredentials, credentials, type ServiceConfig } from "@grpc/grpc-js";
import { peerNameFromCertificate, type TlsMaterial } from "../tls/index.ts";
import { type ClientTelemetry, createGrpcTransport } from "./grpc-transport.ts";

export interface PeerOptions {
  /** gRPC target, for example "dns:///registry:8443". Behind a name with several addresses calls go round. */
  readonly target: string;
  /** The service that must answer there, by the SPIFFE-style name of its certificate. */
  readonly service: string;
  /** Who we are. Absent only on loopback, in clear text. */
  readonly identity?: PeerIdentitySource | undefined;
  readonly telemetry?: ClientTelemetry | undefined;
  /** Largest answer that is read, in bytes; 4 MiB when absent. */
  readonly receiveBytesMax?: number;
}

interface PeerIdentitySource extends TlsMaterial {
  onReload?(listener: (material: TlsMaterial) => void): Disposable;
}

/** Another service of the platform: gives a typed client for each of its proto services. */
export interface Peer extends Disposable {
  <Service extends DescService>(service: Service): Client<Service>;
}

/** How long calls of an old certificate's channel may still take after a reload. */
const retiredChannelMs = 10 * 60_000;

/**
 * Connects to another service by gRPC and mutual TLS, lazily. Calls are retried only where the proto says that the
 * method is idempotent, with jittered back-off and a budget; its errors arrive as DomainErrors of the same reason.
 */
export function connectPeer(options: PeerOptions): Peer {
  const { target, service: expected, identity, telemetry } = options;
  const channels = new Map<DescService, Channel>();
  let channelCredentials = createCredentials(identity, expected);

  const open = (service: DescService): Channel => {
    const known = channels.get(service);
    if (known !== undefined) return known;
    const channel = new Channel(target, channelCredentials, channelOptions(service, options));
    channels.set(service, channel);
    return channel;
  };

  const reloading = identity?.onReload?.((material) => {
    channelCredentials = createCredentials(material, expected);
    const retired = [...channels.values()];
    channels.clear();
    setTimeout(() => closeAll(retired), retiredChannelMs).unref();
  });

  function clientOf<Service extends DescService>(service: Service): Client<Service> {
    return createClient(
      service,
      createGrpcTransport(() => open(service), telemetry),
    );
  }
  return Object.assign(clientOf, {
    [Symbol.dispose]() {
      reloading?.[Symbol.dispose]();
      closeAll(channels.values());
    },
  });
}

function closeAll(channels: Iterable<Channel>): void {
  for (const channel of channels) channel.close();
}

function createCredentials(material: TlsMaterial | undefined, expected: string): ChannelCredentials {
  if (material === undefined) return credentials.createInsecure();
  const { ca, key, cert } = material;
  return credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert), {
    // The chain is checked before this; here only whom it names. Host names say where, not who.
    checkServerIdentity: (_host, certificate) =>
      peerNameFromCertificate(certificate) === expected
        ? undefined
        : new Error(`the certificate does not name the service "${expected}"`),
  });
}

function channelOptions(service: DescService, options: PeerOptions) {
  return {
    "grpc.service_config": JSON.stringify(serviceConfig(service)),
    // An address may not be sent as the TLS server name (RFC 6066 §3); the certificate is checked by SPIFFE name anyway.
    "grpc.ssl_target_name_override": options.service,
    "grpc.max_receive_message_length": options.receiveBytesMax ?? 4 * 1024 * 1024,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5000,
    "grpc.enable_channelz": 0,
  };
}

function serviceConfig(service: DescService): ServiceConfig {
  const idempotent = service.methods.filter(({ idempotency }) => idempotency !== IdempotencyLevel.IDEMPOTENCY_UNKNOWN);
  return {
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig: idempotent.map(({ name }) => ({
      name: [{ service: service.typeName, method: name }],
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: "0.1s",
        maxBackoff: "1s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    })),
    retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
  };
}
