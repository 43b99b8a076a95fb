/** Every kind of trust source: the only list. A new kind is a folder beside this file and a line here. */
import type { Clock } from "@fujie/kit/clock";
import type { Timers } from "@fujie/kit/timers";
import type { AdapterContext, ClaimAdapter } from "./adapter.ts";
import {
  type Authority,
  open as openAuthority,
  readSettings as readAuthority,
} from "./certificate-authority/adapter.ts";
import type { AuthoritySettings } from "./certificate-authority/settings.ts";
import type { EntryReader } from "./entry.ts";
import { type GuardedSource, type GuardLimits, guardSource } from "./guard.ts";
import { adapter as legalPersonBase } from "./legal-person-base/adapter.ts";
import { adapter as partner } from "./partner/adapter.ts";
import { adapter as populationBase } from "./population-base/adapter.ts";
import type { Source, SourceFacts, SourceKind } from "./source.ts";

/** An entry whose settings were read and are sound: it only has to be opened. */
export type ReadySource =
  | { readonly kind: "claims"; readonly facts: SourceFacts; open(context: AdapterContext): Source }
  | { readonly kind: "ca"; readonly id: string; readonly level: number; readonly settings: AuthoritySettings };

type Reader = (entry: EntryReader, facts: SourceFacts) => ReadySource;

const claimKinds: Readonly<Record<SourceKind, Reader>> = {
  "population-base": ready(populationBase),
  "legal-person-base": ready(legalPersonBase),
  partner: ready(partner),
};

export const sourceKinds = [...Object.keys(claimKinds), "ca"];

function ready<Settings>(adapter: ClaimAdapter<Settings>): Reader {
  return (entry, facts) => {
    const settings = adapter.readSettings(entry, facts);
    return { kind: "claims", facts, open: (context) => adapter.open(facts, settings, context) };
  };
}

/** Reads what is the kind's own. Throws SourcesFileError. */
export function readKind(kind: SourceKind | "ca", entry: EntryReader, facts: Omit<SourceFacts, "kind">): ReadySource {
  if (kind !== "ca") return claimKinds[kind](entry, { ...facts, kind });
  return { kind, id: facts.id, level: facts.level, settings: readAuthority(entry, facts) };
}

export function isSourceKind(text: string): text is SourceKind | "ca" {
  return sourceKinds.includes(text);
}

export interface Sources extends AsyncDisposable {
  readonly claims: readonly GuardedSource[];
  readonly authorities: readonly Authority[];
}

export interface OpenOptions extends AdapterContext {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly limits: GuardLimits;
  readonly stopping: AbortSignal;
  /** Puts a source under measurement. */
  readonly meter: (source: GuardedSource) => GuardedSource;
  /** As AuthorityOptions.allowHosts. */
  readonly allowHosts: readonly string[];
}

const DESCRIBE_EVERY_MS = 60_000;

/** Opens every source, and asks those that announce maintenance for it now and every minute. */
export function openSources(entries: readonly ReadySource[], options: OpenOptions): Sources {
  const claims = entries.flatMap((entry) =>
    entry.kind === "claims" ? [options.meter(guardSource(entry.open(options), options))] : [],
  );
  const authorities = entries.flatMap((entry) =>
    entry.kind === "ca"
      ? [openAuthority(entry, entry.settings, { ...options, timeoutMs: options.limits.timeoutMs })]
      : [],
  );
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
