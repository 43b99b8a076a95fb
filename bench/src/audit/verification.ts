import { checkpointVerifiers, verifyLog } from "../../../services/audit/src/log/index.ts";
import { median, type Row } from "../suite.ts";
import { ORIGIN, type Stage } from "./stage.ts";

const ROUNDS = 5;
const TARGET_PER_SECOND = 80_000;

/** Checking the whole log in the database, row by row, against reading the same rows. */
export async function measureVerification({ sealedDb, sealedUrl, ring }: Stage): Promise<Row> {
  const verifiers = checkpointVerifiers(ring.publicKeys(), ORIGIN);
  const checked: number[] = [];
  const read: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    const { size, findings } = await verifyLog({ db: sealedDb, url: sealedUrl, origin: ORIGIN, verifiers });
    if (findings.length > 0) throw new Error("the log does not verify");
    const middle = performance.now();
    await sealedDb.query({ name: "bench.read", text: "SELECT count(salt || details) FROM audit.entry", values: [] });
    checked.push((size * 1_000) / (middle - started));
    read.push((size * 1_000) / (performance.now() - middle));
  }
  const value = median(checked);
  const baseline = median(read);
  return {
    measure: "verification of the whole log, against reading it",
    value,
    unit: "entries/s",
    baseline,
    ratio: value / baseline,
    target: TARGET_PER_SECOND,
    ok: value >= TARGET_PER_SECOND,
  };
}
