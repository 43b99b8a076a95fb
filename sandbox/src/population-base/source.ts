import { createCheckRoom } from "../http/check-room.ts";
import type { Room } from "../http/reply.ts";
import type { HttpCaller } from "../http/signature.ts";
import { createCheckDesk } from "../manners/check.ts";
import { createManners, type Manners, type Surroundings } from "../manners/manners.ts";
import { type PopulationAnswer, readDocumentCheck, readGuardianCheck, readPopulationCheck } from "./rules.ts";

/** The grant and the pace of a two-element base. */
export const POPULATION_DEFAULTS = { latencyMs: 80, quotaPerSecond: 100 } as const;

const CHECKS = {
  "/population/v1/checks": readPopulationCheck,
  "/population/v1/documents": readDocumentCheck,
  "/population/v1/guardians": readGuardianCheck,
};

/**
 * The population base: citizen id and name, documents, guardians. It is one base at two addresses: whoever steers the
 * base steers both, and "population-base-2" the second alone. Each counts what came in there; what is billed is counted
 * once, at the base.
 */
export function createPopulationBase(
  surroundings: Surroundings,
  caller: HttpCaller,
): { readonly manners: readonly Manners[]; readonly room: Room; readonly replica: Room } {
  const { clock } = surroundings;
  const desk = createCheckDesk<PopulationAnswer>("population-base", POPULATION_DEFAULTS, surroundings);
  const front = createManners("population-base-2", POPULATION_DEFAULTS, surroundings);
  return {
    manners: [steeringBoth(desk.manners, front), front],
    room: createCheckRoom({ checks: CHECKS, desk, caller, clock }),
    replica: createCheckRoom({ checks: CHECKS, desk, caller, clock, front }),
  };
}

function steeringBoth(base: Manners, replica: Manners): Manners {
  return {
    ...base,
    change(body) {
      base.change(body);
      replica.change(body);
    },
    reset() {
      base.reset();
      replica.reset();
    },
  };
}
