/** Every kind of trust source. A new kind is a folder beside this file, a line here and its name in @fujie/identity. */
import type { Clock } from "@fujie/kit/clock";
import type { Timers } from "@fujie/kit/timers";
import type { AdapterContext, ClaimAdapter } from "./adapter.ts";
import { adapter as bank } from "./bank/adapter.ts";
import { adapter as biometric } from "./biometric/adapter.ts";
import { adapter as carrier } from "./carrier/adapter.ts";
import {
  type Authority,
  type CrlNumbers,
  open as openAuthority,
  readSettings as readAuthority,
} from "./certificate-authority/adapter.ts";
import type { AuthoritySettings } from "./certificate-authority/settings.ts";
import { openPossessionSource } from "./certificate-authority/source.ts";
import type { EntryReader } from "./entry.ts";
import { type GuardedSource, type GuardLimits, type GuardOptions, guardSource } from "./guard.ts";
import { adapter as legalPersonBase } from "./legal-person-base/adapter.ts";
import { adapter as partner } from "./partner/adapter.ts";
import { adapter as populationBase } from "./population-base/adapter.ts";
import type { Source, SourceFacts, SourceKind } from "./source.ts";

/** An entry whose settings were read and are sound: it only has to be opened. */
export type ReadySource =
  | { readonly kind: "claims"; readonly facts: SourceFacts; open(context: AdapterContext): Source }
  | { readonly kind: "ca"; readonly facts: SourceFacts; readonly settings: AuthoritySettings };

type Reader = (entry: EntryReader, facts: SourceFacts) => ReadySource;

const claimKinds: Readonly<Record<Exclude<SourceKind, "ca">, Reader>> = {
  "population-base": ready(populationBase),
  "legal-person-base": ready(legalPersonBase),
  carrier: ready(carrier),
  bank: ready(bank),
  biometric: ready(biometric),
  partner: ready(partner),
};

function ready<Settings>(adapter: ClaimAdapter<Settings>): Reader {
  return (entry, facts) => {
    const settings = adapter.readSettings(entry, facts);
    return { kind: "claims", facts, open: (context) => adapter.open(facts, settings, context) };
  };
}

/** Reads what is the kind's own. Throws SourcesFileError. */
export function readKind(kind: SourceKind, entry: EntryReader, facts: Omit<SourceFacts, "kind">): ReadySource {
  if (kind !== "ca") return claimKinds[kind](entry, { ...facts, kind });
  return { kind, facts: { ...facts, kind }, settings: readAuthority(entry, facts) };
}

export interface Sources extends AsyncDisposable {
  /** Everybody who answers claims, CAs included. */
  readonly claims: readonly GuardedSource[];
  /** The CAs, for certificates that are checked on their own. */
  readonly authorities: readonly Authority[];
}

export interface OpenOptions extends AdapterContext {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly limits: GuardLimits;
  readonly stopping: AbortSignal;
  readonly ephemeral: GuardOptions["ephemeral"];
  readonly terms: GuardOptions["terms"];
  readonly log: GuardOptions["log"];
  /** Stands directly around each adapter: notes its calls, and lets none through to a suspended source. */
  readonly around: (source: Source) => Source;
  /** Puts a source under measurement. */
  readonly meter: (source: GuardedSource) => GuardedSource;
  /** As AuthorityOptions.allowHosts. */
  readonly allowHosts: readonly string[];
  readonly crlNumbers: CrlNumbers;
}

const DESCRIBE_EVERY_MS = 60_000;

/** Opens every source, and asks those that speak of themselves now and every minute. */
export function openSources(entries: readonly ReadySource[], options: OpenOptions): Sources {
  const guard = (source: Source) => options.meter(guardSource(options.around(source), options));
  const claims: GuardedSource[] = [];
  const authorities: Authority[] = [];
  for (const entry of entries) {
    if (entry.kind === "claims") {
      claims.push(guard(entry.open(options)));
      continue;
    }
    const { facts, settings } = entry;
    const authority = openAuthority(facts, settings, { ...options, timeoutMs: options.limits.timeoutMs });
    authorities.push(authority);
    if (facts.claimTypes.length > 0) claims.push(guard(openPossessionSource(facts, authority, options)));
  }
  const stop = new AbortController();
  const following = followAnnouncements(claims, options.timers, AbortSignal.any([stop.signal, options.stopping]));
  return {
    claims,
    authorities,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await following;
      for (const source of claims) source[Symbol.dispose]();
    },
  };
}

async function followAnnouncements(
  sources: readonly GuardedSource[],
  timers: Timers,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await Promise.all(sources.map((source) => source.refresh()));
    await timers.sleep(DESCRIBE_EVERY_MS, signal);
  }
}
