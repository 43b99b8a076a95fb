/** Every kind of trust source that this release knows: what the gateway opens and evidence policies may give a voice. */
export const sourceKinds = [
  "population-base",
  "legal-person-base",
  "carrier",
  "bank",
  "biometric",
  "partner",
  "ca",
] as const;

export type SourceKind = (typeof sourceKinds)[number];

export function isSourceKind(text: string): text is SourceKind {
  return sourceKinds.some((kind) => kind === text);
}
