/** What the platform said yes to, held against its audit log afterwards. */
import assert from "node:assert/strict";
import { type EntrySummary, LogService } from "@fujie/api/fujie/audit/v1/log";
import { callService, newTrace } from "../../src/journey/callers.ts";
import { type Stage, signInOperator } from "../../src/journey/stage.ts";
import { entryVerifier } from "../../src/verify/entry.ts";
import { stubbornly, untilAnswered } from "./stubborn.ts";

/** Whom or what the entry of an acknowledged step is about. */
export type About =
  | { readonly case: "subject"; readonly value: string }
  /** The trace of the attempt that was answered, for steps that may be repeated. */
  | { readonly case: "traceId"; readonly value: string };

interface Step {
  readonly type: string;
  readonly about: About;
}

const PURPOSE = "kill.test";
const DRAIN_MS = 60_000;
const PAGE_SIZE = 200;

export class Ledger {
  readonly #steps: Step[] = [];

  /** The platform said yes: exactly one entry of this type has to be found about this. */
  note(type: string, about: About): void {
    this.#steps.push({ type, about });
  }

  /** Every step is in the log exactly once, and proven; returns how many. */
  async assertKept(stage: Stage): Promise<number> {
    const log = await openLog(stage);
    const verify = entryVerifier(stage.platform);
    for (const [filter, types] of this.#byFilter()) {
      const isThere = (type: string) => (entry: EntrySummary) => entry.type === type && entry.reason === "";
      const entries = await untilAnswered(
        `${types.join(", ")} about ${filter.case} ${filter.value} drain into the log`,
        () => log.list(filter),
        (found) => types.every((type) => found.some(isThere(type))),
        DRAIN_MS,
      );
      assertDistinct(entries);
      for (const type of types) {
        const found = entries.filter(isThere(type));
        assert.equal(found.length, 1, `${type} is in the log once, not ${found.length} times`);
        const proof = await log.prove(found[0]?.index ?? -1n);
        assert.equal(verify(proof).ok, true, `${type} is proven`);
      }
    }
    return this.#steps.length;
  }

  #byFilter(): [About, string[]][] {
    const groups = new Map<string, [About, string[]]>();
    for (const { type, about } of this.#steps) {
      const group = groups.get(about.value) ?? [about, []];
      group[1].push(type);
      groups.set(about.value, group);
    }
    return [...groups.values()];
  }
}

/** How often something happened on the whole platform, by the log. */
export async function countEntries(stage: Stage, type: string): Promise<number> {
  const entries = await (await openLog(stage)).list({ case: "type", value: type });
  assertDistinct(entries);
  return entries.filter(({ reason }) => reason === "").length;
}

function assertDistinct(entries: readonly EntrySummary[]): void {
  assert.equal(new Set(entries.map(({ eventId }) => eventId)).size, entries.length, "no event is there twice");
}

async function openLog(stage: Stage) {
  const token = await stubbornly(() => signInOperator(stage, stage.staff.auditAdministrator, ["audit.read"]));
  const log = callService(LogService, stage.platform.httpUrl("audit"), { token, trace: newTrace() });
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  return {
    list: async (filter: About | { case: "type"; value: string }): Promise<EntrySummary[]> => {
      const found: EntrySummary[] = [];
      for (let pageToken = ""; ; ) {
        const question = { purpose: PURPOSE, filter, pageSize: PAGE_SIZE, pageToken };
        const page = await stubbornly(() => log.listEntries(question));
        found.push(...page.entries);
        if (page.nextPageToken === "") return found;
        pageToken = page.nextPageToken;
      }
    },
    prove: async (index: bigint) => {
      const entry = { case: "index", value: index } as const;
      const { preimage, salt, proofBundle } = await stubbornly(() => log.getEntry({ purpose: PURPOSE, entry }));
      return { preimage: base64(preimage), salt: base64(salt), proofBundle };
    },
  };
}
