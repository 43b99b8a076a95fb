/** What the gateway takes (policy.proto). */
export const RULES_MAX = 10_000;

/**
 * The identifier as claims hold it: full-width characters, separators and case make no second one. Which kind it is
 * does not matter: +86 is dropped as claims drop it from phone numbers.
 */
export function normaliseIdentifier(text: string): string {
  const plain = text.normalize("NFKC").replaceAll(/[\s-]/g, "").toUpperCase();
  return plain.replace(/^(?:\+|00)86(?=1\d{10}$)/, "");
}

/** What is digested under the key that registry and gateway share (policy.proto). */
export function identifierMessage(identifier: string): string {
  return `fujie-block-identifier-v1\n${normaliseIdentifier(identifier)}`;
}
