import type { Bench } from "../bench.ts";

export interface SuiteCase {
  /** "assertion.nonce": stable, never used for another case. */
  readonly id: string;
  readonly title: { readonly en: string; readonly zh: string };
  /** Ids of docs/requirements.md. */
  readonly requirement: string;
  /** Gives what is worth knowing about a pass. Ends by `fail` or `notApplicable` otherwise. */
  run(bench: Bench): Promise<string | undefined>;
}
