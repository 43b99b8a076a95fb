import { proveInclusionFromTiles } from "../../../packages/transparency/src/index.ts";
import { findStoredEntry } from "../../../services/audit/src/events/store.ts";
import { publishedCheckpoint } from "../../../services/audit/src/proofs/published-log.ts";
import { tilesOf } from "../../../services/audit/src/tiles/read-tiles.ts";
import { atMost, percentile, type Row } from "../suite.ts";
import type { Stage } from "./stage.ts";

const PROOFS = 1_000;
const TARGET_MS = 10;

/** Inclusion proofs of random entries without any remembered tile, against reading the entry alone. */
export async function measureProofs({ sealedDb }: Stage): Promise<Row> {
  const { size } = await publishedCheckpoint(sealedDb);
  const tiles = tilesOf(sealedDb);
  const proofs: number[] = [];
  const reads: number[] = [];
  for (let done = 0; done < PROOFS; done++) {
    const index = Math.floor(Math.random() * size);
    proofs.push(await durationMs(() => proveInclusionFromTiles(index, size, tiles)));
    reads.push(await durationMs(() => findStoredEntry(sealedDb, index)));
  }
  return atMost(TARGET_MS, {
    measure: `inclusion proof in ${size} entries without remembered tiles, p99, against a point read`,
    value: percentile(proofs, 0.99),
    unit: "ms",
    baseline: percentile(reads, 0.99),
  });
}

async function durationMs(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
