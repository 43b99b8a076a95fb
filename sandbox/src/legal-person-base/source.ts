import { createCheckRoom } from "../http/check-room.ts";
import type { Room } from "../http/reply.ts";
import type { HttpCaller } from "../http/signature.ts";
import { createCheckDesk } from "../manners/check.ts";
import type { Manners, Surroundings } from "../manners/manners.ts";
import { lookupOrganisation } from "../people/index.ts";
import { type LegalPersonAnswer, readLegalPersonCheck } from "./rules.ts";

/** The grant and the pace of a base of organisations. */
export const LEGAL_PERSON_DEFAULTS = {
  latencyMs: 120,
  fault: "none",
  quotaPerSecond: 50,
  failNext: 0,
  maintenance: [],
} as const;

/** The legal-person base: unified social credit code, name and, when asked, the legal representative. */
export function createLegalPersonBase(
  surroundings: Surroundings,
  caller: HttpCaller,
): { manners: Manners; room: Room } {
  const desk = createCheckDesk<LegalPersonAnswer>("legal-person-base", LEGAL_PERSON_DEFAULTS, surroundings);
  const room = createCheckRoom({
    path: "/legal-person/v1/checks",
    desk,
    caller,
    clock: surroundings.clock,
    readCheck: (value) => readLegalPersonCheck(value, lookupOrganisation),
  });
  return { manners: desk.manners, room };
}
