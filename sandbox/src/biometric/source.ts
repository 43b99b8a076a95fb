import { createCheckRoom } from "../http/check-room.ts";
import type { Room } from "../http/reply.ts";
import type { HttpCaller } from "../http/signature.ts";
import { createCheckDesk } from "../manners/check.ts";
import type { Manners, Surroundings } from "../manners/manners.ts";
import { type BiometricAnswer, readFaceCheck } from "./rules.ts";

/** The grant and the pace of a face comparison. */
export const BIOMETRIC_DEFAULTS = { latencyMs: 400, quotaPerSecond: 20 } as const;

/** A biometric source: whether a face is the one on file. */
export function createBiometric(surroundings: Surroundings, caller: HttpCaller): { manners: Manners; room: Room } {
  const desk = createCheckDesk<BiometricAnswer>("biometric", BIOMETRIC_DEFAULTS, surroundings);
  const checks = { "/biometric/v1/checks": readFaceCheck };
  return { manners: desk.manners, room: createCheckRoom({ checks, desk, caller, clock: surroundings.clock }) };
}
