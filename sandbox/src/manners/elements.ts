import {
  citizenIdCheckCharacter,
  isCalendarDate,
  LONG_TERM,
  luhnCheckDigit,
  usccCheckCharacter,
} from "@fujie/identity";
import { FieldError, requireText } from "./field-error.ts";

/** 32 lower-case hexadecimal characters. */
export const BIZ_SEQ_FORM = /^[0-9a-f]{32}$/;
export const PURPOSE_FORM = /^[\x21-\x7e]{1,64}$/;
const PERSON_NAME_FORM = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,100}$/u;
const ORGANISATION_NAME_FORM = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,200}$/u;
const CITIZEN_ID_FORM = /^[1-9]\d{16}[\dX]$/;
const PHONE_FORM = /^1[3-9]\d{9}$/;
const BANK_CARD_FORM = /^\d{13,19}$/;
const USCC_FORM = /^[0-9A-HJ-NPQRTUWXY]{18}$/;

/** A canonical citizen id with its birth date and check character (GB 11643-1999). Throws FieldError. */
export function requireCitizenId(value: unknown, field: string): string {
  const text = requireText(value, field, CITIZEN_ID_FORM);
  if (citizenIdCheckCharacter(text.slice(0, 17)) !== text[17])
    throw new FieldError(field, "has a wrong check character");
  if (!isCalendarDate(`${text.slice(6, 10)}-${text.slice(10, 12)}-${text.slice(12, 14)}`))
    throw new FieldError(field, "has no birth date");
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

/** Eleven digits of a mobile number. Throws FieldError. */
export function requirePhone(value: unknown, field: string): string {
  return requireText(value, field, PHONE_FORM);
}

/** 13–19 digits with their Luhn digit. Throws FieldError. */
export function requireBankCard(value: unknown, field: string): string {
  const text = requireText(value, field, BANK_CARD_FORM);
  if (luhnCheckDigit(text.slice(0, -1)) !== text.at(-1)) throw new FieldError(field, "has a wrong check digit");
  return text;
}

/** A day that exists, or LONG-TERM. Throws FieldError. */
export function requireDocumentDate(value: unknown, field: string): string {
  if (typeof value === "string" && (value === LONG_TERM || isCalendarDate(value))) return value;
  throw new FieldError(field, "is missing or no date");
}
