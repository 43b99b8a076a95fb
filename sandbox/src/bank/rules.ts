import type { Check } from "../manners/check.ts";
import { requireBankCard, requirePhone } from "../manners/elements.ts";
import { findings, readPersonCheck } from "../manners/person-check.ts";
import type { Cap } from "../manners/quota.ts";
import type { Settings } from "../manners/settings.ts";
import type { SyntheticPerson } from "../people/index.ts";
import { comparePerson, type PersonResult } from "../population-base/rules.ts";

export type BankAnswer = { readonly bizSeq: string; readonly result: PersonResult; readonly checkTime: string };

const DAY_MS = 86_400_000;

/** A check of three elements or, with the reserved mobile number, four (NI-28c, NI-28d). Throws FieldError. */
export function readBankCheck(value: unknown): Check<BankAnswer> {
  let card = "";
  const check = readPersonCheck(value, {
    more: ["bankCard", "phone"],
    readMore: (fields) => {
      card = requireBankCard(fields["bankCard"], "bankCard");
      return fields["phone"] === undefined ? [card] : [card, requirePhone(fields["phone"], "phone")];
    },
    compare: (person, name, [bankCard = "", phone]) => findings(compareBankCard(person, name, bankCard, phone)),
  });
  return { ...check, caps: (settings) => bankCardCaps(card, settings) };
}

/** So many checks of one card, by whomever. */
export function bankCardCaps(bankCard: string, { cardPerDay }: Settings): readonly Cap[] {
  return [{ key: `card:${bankCard}`, max: cardPerDay, withinMs: DAY_MS }];
}

/** What a bank finds for a card of a person. Undefined: the source fails for this person. */
export function compareBankCard(
  person: SyntheticPerson | undefined,
  name: string,
  bankCard: string,
  phone: string | undefined,
): PersonResult | undefined {
  const found = comparePerson(person, name);
  if (found !== "MATCH") return found;
  const agrees = person?.bankCard === bankCard && (phone === undefined || person.phone === phone);
  return agrees ? "MATCH" : "MISMATCH";
}
