import { createCheckRoom } from "../http/check-room.ts";
import type { Room } from "../http/reply.ts";
import type { HttpCaller } from "../http/signature.ts";
import { createCheckDesk } from "../manners/check.ts";
import type { Manners, Surroundings } from "../manners/manners.ts";
import { lookupPerson } from "../people/index.ts";
import { type PopulationAnswer, readPopulationCheck } from "./rules.ts";

/** The grant and the pace of a two-element base. */
export const POPULATION_DEFAULTS = {
  latencyMs: 80,
  fault: "none",
  quotaPerSecond: 100,
  failNext: 0,
  maintenance: [],
} as const;

/** The population base: citizen id and name. */
export function createPopulationBase(surroundings: Surroundings, caller: HttpCaller): { manners: Manners; room: Room } {
  const desk = createCheckDesk<PopulationAnswer>("population-base", POPULATION_DEFAULTS, surroundings);
  const room = createCheckRoom({
    path: "/population/v1/checks",
    desk,
    caller,
    clock: surroundings.clock,
    readCheck: (value) => readPopulationCheck(value, lookupPerson),
  });
  return { manners: desk.manners, room };
}
