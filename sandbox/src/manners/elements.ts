import { citizenIdCheckCharacter, usccCheckCharacter } from "@fujie/identity";
import { FieldError, requireText } from "./field-error.ts";

/** 32 lower-case hexadecimal characters. */
export const BIZ_SEQ_FORM = /^[0-9a-f]{32}$/;
export const PURPOSE_FORM = /^[\x21-\x7e]{1,64}$/;
const PERSON_NAME_FORM = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,100}$/u;
const ORGANISATION_NAME_FORM = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,200}$/u;
const CITIZEN_ID_FORM = /^\d{17}[\dX]$/;
const USCC_FORM = /^[0-9A-HJ-NPQRTUWXY]{18}$/;

/** A canonical citizen id with its check character (GB 11643-1999). Throws FieldError. */
export function requireCitizenId(value: unknown, field: string): string {
  const text = requireText(value, field, CITIZEN_ID_FORM);
  if (citizenIdCheckCharacter(text.slice(0, 17)) !== text[17])
    throw new FieldError(field, "has a wrong check character");
  return text;
}

/** A canonical unified social credit code with its check character (GB 32100-2015). Throws FieldError. */
export function requireUscc(value: unknown, field: string): string {
  const text = requireText(value, field, USCC_FORM);
  if (usccCheckCharacter(text.slice(0, 17)) !== text[17]) throw new FieldError(field, "has a wrong check character");
  return text;
}

/** 1–100 characters. Private-use ones are let through: bases still hold them. Throws FieldError. */
export function requirePersonName(value: unknown, field: string): string {
  return requireText(value, field, PERSON_NAME_FORM);
}

/** 1–200 characters. Throws FieldError. */
export function requireOrganisationName(value: unknown, field: string): string {
  return requireText(value, field, ORGANISATION_NAME_FORM);
}
