import type { Clock } from "@fujie/kit/clock";
import type { TlsMaterial } from "@fujie/kit/tls";
import type { EntryReader } from "./entry.ts";
import type { Source, SourceFacts } from "./source.ts";

/** What adapters need of the service. */
export interface AdapterContext {
  readonly clock: Clock;
  /** Whether fictional people are claimed about: the sandbox's only. */
  readonly allowFictional: boolean;
  /** Who we are to sources that know the platform by mutual TLS. */
  readonly identity: TlsMaterial & { onReload?(listener: (material: TlsMaterial) => void): Disposable };
}

/** A kind of source that checks claims. Each folder beside this file has the same three: settings, rules, adapter. */
export interface ClaimAdapter<Settings> {
  /** The kind's own fields of an entry. Throws SourcesFileError. */
  readSettings(entry: EntryReader, facts: SourceFacts): Settings;
  open(facts: SourceFacts, settings: Settings, context: AdapterContext): Source;
}
