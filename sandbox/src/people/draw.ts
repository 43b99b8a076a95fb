/**
 * A draw from 0 … below − 1 that depends on its arguments alone: the same seed, index and purpose give the same number
 * on every machine, for ever. Good for variety, useless for secrets. (MurmurHash3's finaliser over the three words.)
 */
export function draw(seed: number, index: number, purpose: string, below: number): number {
  let hash = mix(seed | 0) ^ index;
  for (const character of purpose) hash = mix(hash ^ (character.codePointAt(0) ?? 0));
  return mix(hash) % below;
}

/** One of `choices`, drawn as above. Throws RangeError when there is none. */
export function drawFrom<T>(seed: number, index: number, purpose: string, choices: readonly T[]): T {
  const choice = choices[draw(seed, index, purpose, choices.length)];
  if (choice === undefined) throw new RangeError("nothing to draw from");
  return choice;
}

function mix(word: number): number {
  let mixed = (word + 0x9e3779b9) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
