/**
 * Learns a path's revocation state from its CA: the lists of every issuer, kept until they end, and a fresh answer of
 * the responder about the leaf. Whatever cannot be had is left out; `checkRevocation` then judges what there is.
 */
import { randomBytes } from "node:crypto";
import {
  buildOcspRequest,
  type CaProfile,
  type Certificate,
  checkCrl,
  checkRevocation,
  type RevocationResult,
} from "@fujie/certificates";
import type { Clock } from "@fujie/kit/clock";
import { createEgress, type Egress } from "@fujie/kit/egress";
import type { AuthoritySettings } from "./settings.ts";

export { readSettings } from "./settings.ts";

interface RevocationState {
  readonly crls: readonly Uint8Array[];
  readonly ocsp?: { readonly response: Uint8Array; readonly nonce: Uint8Array | undefined };
}

/** The highest revocation list number seen of each issuer, by its fingerprint: durable, and the same on every replica. */
export interface CrlNumbers {
  read(issuerFingerprints: readonly string[]): Promise<ReadonlyMap<string, bigint>>;
  raise(numbers: ReadonlyMap<string, bigint>): Promise<void>;
}

export interface Authority {
  readonly id: string;
  /** The level of assurance of its certificates. */
  readonly level: number;
  readonly profile: CaProfile;
  /** Whether a checked path, leaf first, is good now by what its CA says; a state that cannot be learned is not. */
  revocationOf(path: readonly Certificate[]): Promise<RevocationResult>;
}

export interface AuthorityOptions {
  readonly clock: Clock;
  /** For one list or answer. */
  readonly timeoutMs: number;
  /** Hosts that the operator lets be fetched from although they are private or in clear text. */
  readonly allowHosts: readonly string[];
  readonly crlNumbers: CrlNumbers;
}

const CRL_BYTES_MAX = 32 * 1024 * 1024;
const OCSP_BYTES_MAX = 64 * 1024;
const NONCE_BYTES = 32;
const HTTP_OK = 200;

interface CachedList {
  readonly der: Uint8Array;
  readonly untilMs: number;
}

export function open(
  facts: { readonly id: string; readonly level: number },
  { profile, allowHosts }: AuthoritySettings,
  options: AuthorityOptions,
): Authority {
  const { clock, timeoutMs } = options;
  const hosts = [...allowHosts, ...options.allowHosts];
  const fetchList = createEgress({ allowHosts: hosts, timeoutMs, maxBytes: CRL_BYTES_MAX });
  const fetchAnswer = createEgress({ allowHosts: hosts, timeoutMs, maxBytes: OCSP_BYTES_MAX });
  const lists = new Map<string, CachedList>();
  const fetching = new Map<string, Promise<Uint8Array | undefined>>();

  /** One fetch per list at a time. */
  function listAt(url: string, path: readonly Certificate[]): Promise<Uint8Array | undefined> {
    const cached = lists.get(url);
    if (cached !== undefined && clock.nowMs() < cached.untilMs) return Promise.resolve(cached.der);
    const under = fetching.get(url);
    if (under !== undefined) return under;
    const started = download(fetchList, url)
      .then((der) => {
        const untilMs = der === undefined ? undefined : endOf(der, path, profile, clock.nowMs());
        if (der !== undefined && untilMs !== undefined) lists.set(url, { der, untilMs });
        return der;
      })
      .finally(() => fetching.delete(url));
    fetching.set(url, started);
    return started;
  }

  async function fetchState(path: readonly Certificate[]): Promise<RevocationState> {
    const [ocsp, ...crls] = await Promise.all([
      askResponder(fetchAnswer, profile, path),
      ...profile.revocation.crlUrls.map((url) => listAt(url, path)),
    ]);
    return { crls: crls.filter((der) => der !== undefined), ...(ocsp === undefined ? {} : { ocsp }) };
  }

  return {
    id: facts.id,
    level: facts.level,
    profile,
    revocationOf: async (path) => {
      const issuers = path.slice(1).map(({ fingerprint }) => fingerprint);
      const [state, crlNumbers] = await Promise.all([fetchState(path), options.crlNumbers.read(issuers)]);
      return checkRevocation({ path, at: new Date(clock.nowMs()), policy: profile.revocation, ...state, crlNumbers });
    },
  };
}

/** Until when a list may be kept: its nextUpdate, or earlier where the profile wants fresher ones. */
function endOf(der: Uint8Array, path: readonly Certificate[], profile: CaProfile, nowMs: number): number | undefined {
  const { crlAgeMaxMs } = profile.revocation;
  for (const issuer of path.slice(1)) {
    const checked = checkCrl({ crl: der, issuer, at: new Date(nowMs), ageMaxMs: crlAgeMaxMs });
    if (checked.ok) {
      return Math.min(checked.crl.nextUpdate.getTime(), checked.crl.thisUpdate.getTime() + crlAgeMaxMs);
    }
  }
  return undefined;
}

async function download(egress: Egress, url: string): Promise<Uint8Array | undefined> {
  try {
    const { status, body } = await egress(url);
    return status === HTTP_OK ? body : undefined;
  } catch {
    return undefined;
  }
}

async function askResponder(
  egress: Egress,
  { revocation }: CaProfile,
  [certificate, issuer]: readonly Certificate[],
): Promise<RevocationState["ocsp"]> {
  const { ocspUrl, ocspNonce } = revocation;
  if (ocspUrl === undefined || certificate === undefined || issuer === undefined) return undefined;
  const nonce = ocspNonce ? new Uint8Array(randomBytes(NONCE_BYTES)) : undefined;
  const body = buildOcspRequest({ certificate, issuer, nonce });
  try {
    const answer = await egress(ocspUrl, {
      method: "POST",
      headers: { "content-type": "application/ocsp-request" },
      body,
    });
    return answer.status === HTTP_OK ? { response: answer.body, nonce } : undefined;
  } catch {
    return undefined;
  }
}
