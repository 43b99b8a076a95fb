import { hash } from "node:crypto";
import { checkpointVerifiers, verifyLog } from "../../../services/audit/src/log/index.ts";
import { readWindow } from "../../../services/audit/src/log/window.ts";
import { median, type Row } from "../suite.ts";
import { makeEvents, ORIGIN, type Stage } from "./stage.ts";

const ROUNDS = 5;
const ENTRIES = 200_000;
const APPENDED_AT_ONCE = 20_000;
const WINDOW = 4_096;
const HASHED = 50_000;
const TARGET_PER_SECOND = 80_000;

/** Checking the whole log in the database, row by row, against reading the same rows without any work on them. */
export async function measureVerification(stage: Stage): Promise<Row> {
  const { sealedDb, ring } = stage;
  const verifiers = checkpointVerifiers(ring.publicKeys(), ORIGIN);
  const verify = () => verifyLog({ db: sealedDb, origin: ORIGIN, verifiers });
  let { size } = await verify();
  for (; size < ENTRIES; size += APPENDED_AT_ONCE) await stage.appendAll(makeEvents(APPENDED_AT_ONCE));
  const checked: number[] = [];
  const read: number[] = [];
  const cpuUs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const cpu = process.cpuUsage();
    const started = performance.now();
    const report = await verify();
    const middle = performance.now();
    const { user, system } = process.cpuUsage(cpu);
    if (report.findings.length > 0) throw new Error("the log does not verify");
    for (let begin = 0; begin < report.size; begin += WINDOW)
      await readWindow(sealedDb, begin, Math.min(report.size, begin + WINDOW));
    checked.push((report.size * 1_000) / (middle - started));
    read.push((report.size * 1_000) / (performance.now() - middle));
    cpuUs.push((user + system) / report.size);
  }
  const value = median(checked);
  const baseline = median(read);
  return {
    measure: `verification of the whole log of ${size.toLocaleString("en")} entries, against reading it`,
    value,
    unit: "entries/s",
    baseline,
    ratio: value / baseline,
    target: TARGET_PER_SECOND,
    ok: value >= TARGET_PER_SECOND,
    rounds: checked,
    notes: [
      `${median(cpuUs).toFixed(1)} µs of this process an entry, all threads together`,
      `the machine's bound: ${Math.round(hashedPerSecond())} entries/s and processor by SHA-256 alone, ` +
        `${Math.round(baseline)} entries/s by reading alone`,
    ],
  };
}

/** What an entry's hashes are of: its sealed details, its commitment, its leaf, and a node of the tree. */
const HASHED_BYTES = [62, 350, 33, 65];

/** Entries a second for which one processor computes nothing but their hashes. */
function hashedPerSecond(): number {
  const inputs = HASHED_BYTES.map((bytes) => Buffer.alloc(bytes, 1));
  const rates = Array.from({ length: ROUNDS }, () => {
    const started = performance.now();
    for (let entry = 0; entry < HASHED; entry++) for (const input of inputs) hash("sha256", input, "binary");
    return (HASHED * 1_000) / (performance.now() - started);
  });
  return Math.max(...rates);
}
