/** The kinds of identifiers that are found by a keyed digest. A kind's name is part of what is digested: never rename. */
export type IdentifierKind = "citizen-id" | "uscc" | "login-name" | "phone" | "bank-card";

// What the parsers of this package give out as canonical. None allows a colon, so that kinds cannot run together.
const CANONICAL_FORMS: Readonly<Record<IdentifierKind, RegExp>> = {
  "citizen-id": /^(?:\d{17}[\dX]|[A-Z]{3}\d{12})$/,
  uscc: /^[\dA-HJ-NPQRTUWXY]{18}$/,
  "login-name": /^[a-z][a-z0-9._-]{3,31}$/,
  phone: /^\+861[3-9]\d{9}$/,
  "bank-card": /^\d{13,19}$/,
};

/**
 * The element over which a keyed digest is made, e.g. `citizen-id:11010519491231002X`: ASCII, one string for one
 * identifier, different for equal text of different kinds. Takes the canonical form that the kind's parser gave:
 * `CitizenId.number`, `Uscc.code`, `Phone.e164`, the login name, the card number.
 * Throws RangeError on any other spelling, because its digest would let a second account in beside the first (SZ-3.2).
 */
export function canonicalIdentifier(kind: IdentifierKind, normalised: string): string {
  if (!CANONICAL_FORMS[kind].test(normalised)) throw new RangeError(`not the canonical form of a ${kind}`);
  return `${kind}:${normalised}`;
}
