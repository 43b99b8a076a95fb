/** The pure rules of identity: numbers, codes and names, how they are spelled, checked, compared and masked. */
export * from "./bank-card.ts";
export * from "./canonical-elements.ts";
export * from "./canonical-identifier.ts";
export * from "./citizen-id.ts";
export { ageOn, type IsoDate, isCalendarDate } from "./date.ts";
export * from "./guardianship.ts";
export * from "./login-name.ts";
export * from "./masking.ts";
export { countCodePoints, type NameCharacterReason } from "./name-characters.ts";
export * from "./organisation-code.ts";
export * from "./organisation-name.ts";
export type { Parsed } from "./parsed.ts";
export * from "./person-name.ts";
export * from "./phone.ts";
export { isFictionalRegion, isKnownProvince, knownCountyCodes, lookupRegion, type RegionStatus } from "./region.ts";
export * from "./source-kinds.ts";
export * from "./uscc.ts";
