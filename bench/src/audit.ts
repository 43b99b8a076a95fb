/** The audit log: what sealing costs, how soon it is done, what it takes to prove, to check and to keep. */
import { measureProofs } from "./audit/proofs.ts";
import { measureSealing } from "./audit/sealing.ts";
import { openStage } from "./audit/stage.ts";
import { measureStorage } from "./audit/storage.ts";
import { measureThroughput } from "./audit/throughput.ts";
import { measureVerification } from "./audit/verification.ts";
import type { SuiteResult } from "./suite.ts";

export async function run(machine: string): Promise<SuiteResult> {
  await using stage = await openStage();
  const throughput = await measureThroughput(stage);
  const sealing = await measureSealing(stage, throughput.value);
  const rows = [throughput, sealing, await measureProofs(stage), await measureVerification(stage)];
  return { suite: "audit", machine, rows: [...rows, ...(await measureStorage(stage))] };
}
