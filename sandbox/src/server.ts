import { join } from "node:path";
import { createBank } from "./bank/source.ts";
import { createBiometric } from "./biometric/source.ts";
import { createCarrier } from "./carrier/source.ts";
import { openCertificateAuthorities } from "./certificate-authority/source.ts";
import { type Clock, type Sleep, systemClock, systemSleep } from "./clock.ts";
import { createControl } from "./control/source.ts";
import { listenHttp, PICTURE_BYTES_MAX } from "./http/listener.ts";
import type { Room } from "./http/reply.ts";
import { createLegalPersonBase } from "./legal-person-base/source.ts";
import { type Log, silentLog } from "./log.ts";
import { formatAddress, readLoopbackAddress } from "./loopback.ts";
import type { Surroundings } from "./manners/manners.ts";
import { openPartner, type TlsFiles } from "./partner/source.ts";
import { lookupOrganisation, lookupPerson } from "./people/index.ts";
import { createPopulationBase } from "./population-base/source.ts";
import { openCredentials, writeSources } from "./sources-file.ts";

export type SandboxOptions = {
  /** Bases, CAs and control, e.g. "127.0.0.1:7052". Port 0 takes a free one. */
  readonly httpAddress: string;
  /** The partner, e.g. "127.0.0.1:7051". Port 0 takes a free one. */
  readonly grpcAddress: string;
  /** Where secrets, CAs and `sources.json` are kept. */
  readonly dir: string;
  /** For the partner's mutual TLS. */
  readonly tls: TlsFiles;
  readonly clock?: Clock;
  readonly sleep?: Sleep;
  readonly log?: Log;
};

export type Sandbox = AsyncDisposable & {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** Without a trailing slash. */
  readonly httpUrl: string;
  /** What the trust-gateway reads. */
  readonly sourcesFile: string;
};

/** Where the population base has its second address. */
const REPLICA = "replica-2";

/** The room as it is under a path of its own. */
function under(name: string, room: Room): Room {
  return (request) => room({ ...request, path: request.path.slice(name.length + 1) });
}

/** Starts every source of the sandbox. Throws RangeError for an address that other machines could reach. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const httpAddress = readLoopbackAddress(options.httpAddress);
  const grpcAddress = readLoopbackAddress(options.grpcAddress);
  const { dir, clock = systemClock, sleep = systemSleep, log = silentLog } = options;
  await using opened = new AsyncDisposableStack();

  const closing = new AbortController();
  const surroundings: Surroundings = { clock, sleep, log, closing: closing.signal };
  const credentials = await openCredentials(dir);
  const population = createPopulationBase(surroundings, credentials.population);
  const legalPerson = createLegalPersonBase(surroundings, credentials.legalPerson);
  const others = {
    carrier: createCarrier(surroundings, credentials.carrier),
    bank: createBank(surroundings, credentials.bank),
    biometric: createBiometric(surroundings, credentials.biometric),
  };
  // The CAs name their own URLs, which are known once the port is.
  let httpUrl = "";
  const authoritiesOpening = openCertificateAuthorities(join(dir, "ca"), () => httpUrl, surroundings);
  // Makes the fictional people while OpenSSL makes keys, so that the first check is not the slow one.
  lookupPerson("");
  lookupOrganisation("");
  const authorities = opened.use(await authoritiesOpening);
  const partner = opened.use(await openPartner(grpcAddress, options.tls, credentials.assertion, surroundings));
  const control = createControl([
    ...population.manners,
    legalPerson.manners,
    ...Object.values(others).map(({ manners }) => manners),
    partner.manners,
    ...authorities.manners,
  ]);
  const rooms = {
    population: population.room,
    [REPLICA]: under(REPLICA, population.replica),
    "legal-person": legalPerson.room,
    carrier: others.carrier.room,
    bank: others.bank.room,
    biometric: others.biometric.room,
    ca: authorities.room,
    control,
  };
  const http = await listenHttp(httpAddress, rooms, log, { biometric: PICTURE_BYTES_MAX });
  opened.defer(http.close);
  // First of all when closing: what waits for a slow answer would hold up the rest.
  opened.defer(() => closing.abort());

  httpUrl = `http://${formatAddress({ host: httpAddress.host, port: http.port })}`;
  await writeSources(dir, {
    httpUrl,
    replicaUrl: `${httpUrl}/${REPLICA}`,
    grpcTarget: formatAddress({ host: grpcAddress.host, port: partner.port }),
    assertion: credentials.assertion,
    profiles: { "ca-ecdsa": authorities.profile("ecdsa"), "ca-sm2": authorities.profile("sm2") },
  });
  log.info({ httpPort: http.port, grpcPort: partner.port }, "the sandbox is up");
  const open = opened.move();
  return {
    httpPort: http.port,
    grpcPort: partner.port,
    httpUrl,
    sourcesFile: join(dir, "sources.json"),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
