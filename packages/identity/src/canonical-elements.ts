import { createHash } from "node:crypto";
import { canonicalIdentifier } from "./canonical-identifier.ts";
import { isCalendarDate } from "./date.ts";
import { foldOrganisationName } from "./organisation-name.ts";
import { foldName } from "./person-name.ts";

/** What a document without an end states instead of a date. */
export const LONG_TERM = "LONG-TERM";

type Person = { readonly citizenId: string; readonly personName: string };
type Organisation = { readonly uscc: string; readonly organisationName: string };

/**
 * The elements of a claim, each a text as its parser gave it: `CitizenId.number`, `Uscc.code`, `Phone.national`, the
 * card's digits, the name in any spelling.
 */
export type ClaimElements =
  | ({ readonly type: "PERSON_TWO_ELEMENT" } & Person)
  | ({ readonly type: "LEGAL_PERSON" } & Organisation)
  | ({ readonly type: "LEGAL_REPRESENTATIVE"; readonly citizenId: string } & Organisation)
  | ({ readonly type: "PERSON_CARRIER"; readonly phone: string } & Person)
  | ({ readonly type: "PERSON_BANK_CARD"; readonly bankCard: string } & Person)
  | ({ readonly type: "PERSON_BANK_CARD_PHONE"; readonly bankCard: string; readonly phone: string } & Person)
  /** The image, JPEG or PNG, in base64. */
  | ({ readonly type: "PERSON_FACE"; readonly faceImage: string } & Person)
  /** "YYYY-MM-DD", or LONG_TERM. */
  | ({ readonly type: "DOCUMENT_VALIDITY"; readonly documentExpireDate: string } & Person)
  | ({ readonly type: "GUARDIAN"; readonly wardCitizenId: string; readonly wardName: string } & Person)
  | PossessionElements;

/** That the holder of an identifier holds a certificate's key now. */
export type PossessionElements = {
  readonly type: "CERTIFICATE_POSSESSION";
  readonly identifierKind: "citizen-id" | "uscc";
  readonly identifier: string;
  /** SHA-256 over the DER certificate, hexadecimal. */
  readonly fingerprint: string;
  /** The challenge's, hexadecimal. */
  readonly nonce: string;
  /** The challenge: what the signature is over. */
  readonly message: string;
  /** fujie.trust.v1.CertificateProof, serialised, in base64. */
  readonly proof: string;
};

/** Who knows a face by its digest only can name the same claim: SHA-256 over the image, hexadecimal. */
export type FaceDigestElements = { readonly type: "PERSON_FACE"; readonly faceImageDigest: string } & Person;

/**
 * The one text of a claim over which registry and trust-gateway make their shared digest (ConsentGrant.elements_hmac):
 *
 *   fujie-claim-elements-v1 LF type LF { name ":" length ":" value LF }
 *
 * with the length in UTF-8 bytes, so that no value can pass for the beginning of another. Names go in by the key on
 * which they are compared, so that every spelling of one name is one text; a face by its digest. Never shown, never
 * stored. Throws RangeError when an identifier, a date or a digest is not in canonical form.
 */
export function canonicalElements(claim: ClaimElements | FaceDigestElements): string {
  const lines = elementsOf(claim).map(([name, value]) => `${name}:${Buffer.byteLength(value)}:${value}\n`);
  return `fujie-claim-elements-v1\n${claim.type}\n${lines.join("")}`;
}

/** The digest by which a face goes into the text: of the image in base64. */
export function digestFaceImage(faceImage: string): string {
  return createHash("sha256").update(Buffer.from(faceImage, "base64")).digest("hex");
}

type Line = readonly [name: string, value: string];

function elementsOf(claim: ClaimElements | FaceDigestElements): Line[] {
  switch (claim.type) {
    case "PERSON_TWO_ELEMENT":
      return personOf(claim);
    case "LEGAL_PERSON":
      return organisationOf(claim);
    case "LEGAL_REPRESENTATIVE":
      return [...organisationOf(claim), citizenIdOf(claim)];
    case "PERSON_CARRIER":
      return [...personOf(claim), phoneOf(claim)];
    case "PERSON_BANK_CARD":
      return [...personOf(claim), bankCardOf(claim)];
    case "PERSON_BANK_CARD_PHONE":
      return [...personOf(claim), bankCardOf(claim), phoneOf(claim)];
    case "PERSON_FACE":
      return [...personOf(claim), faceOf(claim)];
    case "CERTIFICATE_POSSESSION":
      return possessionOf(claim);
    case "DOCUMENT_VALIDITY":
      return [...personOf(claim), documentOf(claim)];
    case "GUARDIAN":
      return [
        ...personOf(claim),
        ["ward-citizen-id", canonicalIdentifier("citizen-id", claim.wardCitizenId)],
        ["ward-name", foldName(claim.wardName)],
      ];
  }
}

function personOf(claim: Person): Line[] {
  return [citizenIdOf(claim), ["person-name", foldName(claim.personName)]];
}

function organisationOf({ uscc, organisationName }: Organisation): Line[] {
  return [
    ["uscc", canonicalIdentifier("uscc", uscc)],
    ["organisation-name", foldOrganisationName(organisationName)],
  ];
}

function citizenIdOf({ citizenId }: Pick<Person, "citizenId">): Line {
  return ["citizen-id", canonicalIdentifier("citizen-id", citizenId)];
}

function phoneOf({ phone }: { readonly phone: string }): Line {
  return ["phone", canonicalIdentifier("phone", `+86${phone}`)];
}

function bankCardOf({ bankCard }: { readonly bankCard: string }): Line {
  return ["bank-card", canonicalIdentifier("bank-card", bankCard)];
}

function faceOf(claim: { readonly faceImage: string } | { readonly faceImageDigest: string }): Line {
  const digest = "faceImage" in claim ? digestFaceImage(claim.faceImage) : claim.faceImageDigest;
  return ["face-image-sha256", requireForm(digest, /^[0-9a-f]{64}$/)];
}

function documentOf({ documentExpireDate: date }: { readonly documentExpireDate: string }): Line {
  if (date !== LONG_TERM && !isCalendarDate(date)) throw new RangeError("not a date that exists");
  return ["document-expire-date", date];
}

function possessionOf({ identifierKind, identifier, fingerprint, nonce }: PossessionElements): Line[] {
  return [
    [identifierKind, canonicalIdentifier(identifierKind, identifier)],
    ["certificate-sha256", requireForm(fingerprint, /^[0-9a-f]{64}$/)],
    ["nonce", requireForm(nonce, /^(?:[0-9a-f]{2}){16,64}$/)],
  ];
}

function requireForm(text: string, form: RegExp): string {
  if (!form.test(text)) throw new RangeError("a digest or nonce is not in its canonical form");
  return text;
}
