/**
 * The ledger against the sources' own books over many rounds of faults, with gateways that end in between. Prints its
 * seed; FUJIE_SEED runs one again.
 */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assertReconciled, runFaults } from "./ledger.ts";
import { startWorld } from "./world.ts";

const seed = Number(process.env["FUJIE_SEED"] ?? randomInt(2 ** 31));
const ROUNDS = 16;

test(`SZ-21 the ledger reconciles over ${ROUNDS} rounds of faults and restarts (seed ${seed})`, async () => {
  const settings = { FUJIE_IDENTIFIER_PER_DAY_MAX: "100000", FUJIE_PENDING_RETRY_MAX_MS: "2000" };
  await using world = await startWorld(settings);
  const { sources } = JSON.parse(readFileSync(world.sandbox.sourcesFile, "utf8"));
  const priceFen = Object.fromEntries(
    sources.map(({ id, priceFen: price }: { id: string; priceFen?: number }) => [id, price ?? 0]),
  );
  await runFaults(world, {
    seed,
    rounds: ROUNDS,
    perRound: 30,
    between: async (random) => {
      if (random() < 0.2) await world.restart();
      await world.putPolicy();
    },
  });
  await assertReconciled(world, priceFen);
});
