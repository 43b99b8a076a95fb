/**
 * Notices an application that walks through neighbouring citizen ids: same region and birth date, sequence numbers next
 * to each other, several times within minutes. It stops nobody, since a school enrols twins and classes; it is recorded
 * for the operators, once per window. No id is kept: the fourteen digits only as a keyed digest, in the name of a
 * short-lived counter beside the last sequence number that means nothing without them.
 */
import type { Ephemeral } from "@fujie/kit/ephemeral";
import type { KeyRing } from "@fujie/kit/keys";

export interface Noticing {
  readonly ephemeral: Pick<Ephemeral, "get" | "set" | "setIfAbsent">;
  readonly ring: Pick<KeyRing, "hmac">;
}

const WINDOW_MS = 10 * 60_000;
/** Neighbours one after another that are no coincidence any more. */
export const STEPS_MAX = 5;
/** Sequence numbers are odd for men and even for women: who walks may take every second one. */
const NEIGHBOUR_MAX = 2;
const REGION_AND_BIRTH = 14;

/** Whether this question makes the application suspect, once per window. False, too, while the counters are away. */
export async function noticeEnumeration(
  { ephemeral, ring }: Noticing,
  applicationId: string,
  citizenId: string,
): Promise<boolean> {
  // Permits of people from elsewhere tell no region and no birth date.
  if (!/^\d{17}[\dX]$/.test(citizenId)) return false;
  const digest = ring
    .hmac("cache-key", `enumeration:${citizenId.slice(0, REGION_AND_BIRTH)}`)
    .digest.toString("base64url");
  const key = `enumeration:${applicationId}:${digest}`;
  try {
    const before = readWalk(await ephemeral.get(key));
    const walk = takeStep(before, Number(citizenId.slice(REGION_AND_BIRTH, REGION_AND_BIRTH + 3)));
    if (walk !== before) await ephemeral.set(key, `${walk.last}:${walk.steps}`, { ttlMs: WINDOW_MS });
    if (walk.steps < STEPS_MAX) return false;
    return await ephemeral.setIfAbsent(`enumeration-told:${applicationId}`, "1", { ttlMs: WINDOW_MS });
  } catch {
    // The caps refuse while the counters are away; an alarm refuses nobody.
    return false;
  }
}

interface Walk {
  readonly last: number;
  readonly steps: number;
}

const NOWHERE: Walk = { last: Number.NaN, steps: 0 };

function takeStep(before: Walk, sequence: number): Walk {
  const distance = Math.abs(sequence - before.last);
  if (distance === 0) return before;
  return { last: sequence, steps: distance <= NEIGHBOUR_MAX ? before.steps + 1 : 0 };
}

function readWalk(text: string | undefined): Walk {
  const [last = "", steps = ""] = text?.split(":", 2) ?? [];
  return text === undefined ? NOWHERE : { last: Number(last), steps: Number(steps) };
}
