import { createCheckRoom } from "../http/check-room.ts";
import type { Room } from "../http/reply.ts";
import type { HttpCaller } from "../http/signature.ts";
import { createCheckDesk } from "../manners/check.ts";
import type { Manners, Surroundings } from "../manners/manners.ts";
import { type LegalPersonAnswer, readLegalPersonCheck } from "./rules.ts";

/** The grant and the pace of a base of organisations. */
export const LEGAL_PERSON_DEFAULTS = { latencyMs: 120, quotaPerSecond: 50 } as const;

/** The legal-person base: unified social credit code, name and, when asked, the legal representative. */
export function createLegalPersonBase(
  surroundings: Surroundings,
  caller: HttpCaller,
): { manners: Manners; room: Room } {
  const desk = createCheckDesk<LegalPersonAnswer>("legal-person-base", LEGAL_PERSON_DEFAULTS, surroundings);
  const checks = { "/legal-person/v1/checks": readLegalPersonCheck };
  return { manners: desk.manners, room: createCheckRoom({ checks, desk, caller, clock: surroundings.clock }) };
}
