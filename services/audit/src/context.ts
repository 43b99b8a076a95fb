import type { Clock } from "@fujie/kit/clock";
import type { Database } from "@fujie/kit/db";
import type { KeyRing } from "@fujie/kit/keys";
import type { Logger } from "@fujie/kit/log";
import type { ReadTile } from "@fujie/transparency";
import type { Appender } from "./events/appender.ts";
import type { Authority } from "./incidents/authority.ts";
import type { Sequencer } from "./log/sequencer.ts";
import type { SubjectKeys } from "./subjects/subject-keys.ts";

/** What audit's slices work with. A function takes the part that it needs: `Pick<Context, "db" | "tiles">`. */
export interface Context {
  readonly clock: Clock;
  /** The log's name in its checkpoints. */
  readonly logOrigin: string;
  /** What one person may read within an hour without four eyes. */
  readonly readEntriesPerHour: number;
  /** To whom incidents are reported. */
  readonly authority: Authority;
  readonly log: Logger;
  readonly db: Database;
  /** The wrapped keys of details, apart from the log. */
  readonly keyDb: Database;
  readonly ring: KeyRing;
  readonly subjectKeys: SubjectKeys;
  readonly sequencer: Sequencer;
  readonly appender: Appender;
  /** Tiles of the published log, the last ones from memory. */
  readonly tiles: ReadTile;
}
