import { createCheckRoom } from "../http/check-room.ts";
import type { Room } from "../http/reply.ts";
import type { HttpCaller } from "../http/signature.ts";
import { createCheckDesk } from "../manners/check.ts";
import type { Manners, Surroundings } from "../manners/manners.ts";
import { type CarrierAnswer, readCarrierCheck } from "./rules.ts";

/** The grant and the pace of a three-element check. */
export const CARRIER_DEFAULTS = { latencyMs: 150, quotaPerSecond: 20 } as const;

/** A carrier: who holds a mobile number. */
export function createCarrier(surroundings: Surroundings, caller: HttpCaller): { manners: Manners; room: Room } {
  const desk = createCheckDesk<CarrierAnswer>("carrier", CARRIER_DEFAULTS, surroundings);
  const checks = { "/carrier/v1/checks": readCarrierCheck };
  return { manners: desk.manners, room: createCheckRoom({ checks, desk, caller, clock: surroundings.clock }) };
}
