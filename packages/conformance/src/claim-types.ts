import { createHash } from "node:crypto";
import { ClaimType } from "@fujie/api/fujie/source/v1/source";

export type TextElement =
  | "citizenId"
  | "personName"
  | "uscc"
  | "organisationName"
  | "phone"
  | "bankCard"
  | "documentExpireDate"
  | "wardCitizenId"
  | "wardName";
export type ElementName = TextElement | "faceImage";

/** The elements of one claim; absent ones are empty on the wire. */
export type ClaimElements = Readonly<Partial<Record<TextElement, string>>> & {
  readonly faceImage?: Uint8Array<ArrayBuffer>;
};

export interface ClaimTypeFacts {
  readonly type: ClaimType;
  /** As in the contract, without the prefix. */
  readonly name: string;
  /** Exactly the elements that the type has (NI-9). */
  readonly elements: readonly ElementName[];
}

const person = ["citizenId", "personName"] as const;

/** Every claim type of fujie.source.v1 (docs/trust-source-access.md, §5). */
export const claimTypes: readonly ClaimTypeFacts[] = [
  { type: ClaimType.PERSON_TWO_ELEMENT, name: "PERSON_TWO_ELEMENT", elements: person },
  { type: ClaimType.LEGAL_PERSON, name: "LEGAL_PERSON", elements: ["uscc", "organisationName"] },
  {
    type: ClaimType.LEGAL_REPRESENTATIVE,
    name: "LEGAL_REPRESENTATIVE",
    elements: ["uscc", "organisationName", "citizenId"],
  },
  { type: ClaimType.PERSON_CARRIER, name: "PERSON_CARRIER", elements: [...person, "phone"] },
  { type: ClaimType.PERSON_BANK_CARD, name: "PERSON_BANK_CARD", elements: [...person, "bankCard"] },
  {
    type: ClaimType.PERSON_BANK_CARD_PHONE,
    name: "PERSON_BANK_CARD_PHONE",
    elements: [...person, "bankCard", "phone"],
  },
  { type: ClaimType.PERSON_FACE, name: "PERSON_FACE", elements: [...person, "faceImage"] },
  { type: ClaimType.DOCUMENT_VALIDITY, name: "DOCUMENT_VALIDITY", elements: [...person, "documentExpireDate"] },
  { type: ClaimType.GUARDIAN, name: "GUARDIAN", elements: [...person, "wardCitizenId", "wardName"] },
];

/** From this type on the digest covers the elements that came after the first four. */
export const EXTENDED_FROM = ClaimType.PERSON_CARRIER;

const ZERO = Buffer.of(0);

/** `Assertion.elements_digest`: SHA-256 over the nonce and the elements, in the contract's order. 32 bytes. */
export function digestElements(nonce: Uint8Array, type: ClaimType, elements: ClaimElements): Buffer {
  const { citizenId = "", personName = "", uscc = "", organisationName = "" } = elements;
  const parts: (string | Uint8Array)[] = [citizenId, personName, uscc, organisationName];
  if (type >= EXTENDED_FROM) {
    const {
      phone = "",
      bankCard = "",
      faceImage,
      documentExpireDate = "",
      wardCitizenId = "",
      wardName = "",
    } = elements;
    const face = faceImage === undefined ? "" : createHash("sha256").update(faceImage).digest();
    parts.push(phone, bankCard, face, documentExpireDate, wardCitizenId, wardName);
  }
  const hash = createHash("sha256").update(nonce);
  for (const [i, part] of parts.entries()) {
    if (i > 0) hash.update(ZERO);
    hash.update(part);
  }
  return hash.digest();
}
