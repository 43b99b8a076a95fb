import { createPublicKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { createEgress, type Egress } from "@fujie/kit/egress";

export interface Authority {
  /** Where reports go; undefined: nowhere, and every report stays undelivered, as the metrics say. */
  readonly url: string | undefined;
  /** With it only a signed acknowledgement proves a delivery; without it the HTTP answer is kept as the receipt. */
  readonly key: KeyObject | undefined;
  readonly egress: Egress;
}

export interface AuthoritySettings {
  readonly authorityUrl: string | undefined;
  readonly authorityKeyFile: string | undefined;
  /** Hosts, separated by commas, that may be private or in clear text. */
  readonly egressAllowHosts: string | undefined;
}

const TIMEOUT_MS = 15_000;
const ANSWER_BYTES_MAX = 65_536;

/** The managing authority of the settings. Throws when its key file holds no public key. */
export function openAuthority({ authorityUrl, authorityKeyFile, egressAllowHosts }: AuthoritySettings): Authority {
  return {
    url: authorityUrl,
    key: authorityKeyFile === undefined ? undefined : createPublicKey(readFileSync(authorityKeyFile)),
    egress: createEgress({
      allowHosts: egressAllowHosts?.split(",") ?? [],
      timeoutMs: TIMEOUT_MS,
      maxBytes: ANSWER_BYTES_MAX,
    }),
  };
}
