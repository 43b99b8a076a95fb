import type { Context } from "../context.ts";
import { decodeDetails } from "../events/narrow-event.ts";
import { findStoredEntry } from "../events/store.ts";
import { type FoundEntry, findEntries, type Question } from "../search/search.ts";

export interface Radius {
  readonly entries: number;
  /** Whether there are more entries than were read. */
  readonly truncated: boolean;
  readonly subjects: ReadonlySet<string>;
  readonly applications: ReadonlySet<string>;
  /** Trust sources, as the details of verifications name them. */
  readonly sources: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
}

const ENTRIES_MAX = 5_000;
const PAGE = 500;

/** What the entries touch that answer a question, the newest 5,000 of them. */
export async function measureRadius(
  context: Pick<Context, "db" | "subjectKeys">,
  question: Question,
  size: number,
): Promise<Radius> {
  const radius = {
    entries: 0,
    subjects: new Set<string>(),
    applications: new Set<string>(),
    sources: new Set<string>(),
    services: new Set<string>(),
  };
  let before: number | undefined = size;
  while (before !== undefined && radius.entries < ENTRIES_MAX) {
    const page = await findEntries(context.db, question, before, PAGE);
    for (const found of page.entries) {
      const { subject, applicationId, service } = found.entry;
      if (subject !== "") radius.subjects.add(subject);
      if (applicationId !== "") radius.applications.add(applicationId);
      radius.services.add(service);
      for (const source of await sourcesOf(context, found)) radius.sources.add(source);
    }
    radius.entries += page.entries.length;
    before = page.before;
  }
  return { ...radius, truncated: before !== undefined };
}

async function sourcesOf(context: Pick<Context, "db" | "subjectKeys">, { index, entry }: FoundEntry) {
  if (entry.type !== "verification.decided" || entry.detailsSha256.length === 0) return [];
  const sealed = (await findStoredEntry(context.db, index))?.details;
  const opened = sealed === undefined ? undefined : await context.subjectKeys.open(entry.eventId, sealed);
  // "<source id>:<evidence id>", separated by spaces.
  const evidence = opened === undefined ? "" : (decodeDetails(opened)["evidence"] ?? "");
  return evidence.split(" ").flatMap((pair) => pair.split(":")[0] || []);
}
