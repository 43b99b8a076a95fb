import { findStoredEntry } from "../../../services/audit/src/events/store.ts";
import { proveEvent } from "../../../services/audit/src/proofs/prove-event.ts";
import { tilesOf } from "../../../services/audit/src/tiles/read-tiles.ts";
import { atMost, percentile, type Row } from "../suite.ts";
import { SERVICE, type Stage } from "./stage.ts";

const PROOFS = 1_000;
const TARGET_MS = 10;

/** What GetEventProof does for random events, without any remembered tile, against reading the entry alone. */
export async function measureProofs({ sealedDb }: Stage): Promise<Row> {
  const { rows } = await sealedDb.query<{ event_id: string; index: number }>({
    name: "bench.events",
    text: "SELECT event_id, index::float8 AS index FROM audit.event ORDER BY random() LIMIT $1",
    values: [PROOFS],
  });
  const { rows: sizes } = await sealedDb.query<{ size: number }>("SELECT size::float8 AS size FROM audit.checkpoint");
  const context = { db: sealedDb, tiles: tilesOf(sealedDb) };
  const proofs: number[] = [];
  const reads: number[] = [];
  for (const { event_id: eventId, index } of rows) {
    proofs.push(
      await durationMs(async () => {
        if ((await proveEvent(context, eventId, SERVICE)) === undefined) throw new Error("an event has no proof");
      }),
    );
    reads.push(await durationMs(() => findStoredEntry(sealedDb, index)));
  }
  return atMost(TARGET_MS, {
    measure: `proof of an event in ${sizes[0]?.size} entries without remembered tiles, p99, against a point read`,
    value: percentile(proofs, 0.99),
    unit: "ms",
    baseline: percentile(reads, 0.99),
    notes: [`p50 ${percentile(proofs, 0.5).toFixed(2)} ms, of a point read ${percentile(reads, 0.5).toFixed(2)} ms`],
  });
}

async function durationMs(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
