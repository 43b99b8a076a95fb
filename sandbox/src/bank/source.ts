import { createCheckRoom } from "../http/check-room.ts";
import type { Room } from "../http/reply.ts";
import type { HttpCaller } from "../http/signature.ts";
import { createCheckDesk } from "../manners/check.ts";
import type { Manners, Surroundings } from "../manners/manners.ts";
import { type BankAnswer, readBankCheck } from "./rules.ts";

/** The grant and the pace of a card check. */
export const BANK_DEFAULTS = { latencyMs: 200, quotaPerSecond: 20 } as const;

/** A bank: who holds a card, and under which mobile number. */
export function createBank(surroundings: Surroundings, caller: HttpCaller): { manners: Manners; room: Room } {
  const desk = createCheckDesk<BankAnswer>("bank", BANK_DEFAULTS, surroundings);
  const checks = { "/bank/v1/checks": readBankCheck };
  return { manners: desk.manners, room: createCheckRoom({ checks, desk, caller, clock: surroundings.clock }) };
}
