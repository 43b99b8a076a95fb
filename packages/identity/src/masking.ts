/*
 * What the holder sees of his own data. A masked value is for display only, never for comparing or finding.
 * Anything that has not the expected shape is hidden whole.
 */

const HIDDEN = "***";

/** First and last character of an identity number or code: `1****************X`. */
export function maskCitizenId(number: string): string {
  return /^[\dA-Z]{15}(?:[\dA-Z]{3})?$/.test(number) ? keepEnds(number, 1, 1) : HIDDEN;
}

/** First three and last four digits of a mobile number, national or E.164: `138****5678`. */
export function maskPhone(phone: string): string {
  const national = phone.replace(/^\+86/, "");
  return /^\d{11}$/.test(national) ? keepEnds(national, 3, 4) : HIDDEN;
}

/** Last four digits of a bank card: `************1111`. */
export function maskBankCard(number: string): string {
  return /^\d{13,19}$/.test(number) ? keepEnds(number, 0, 4) : HIDDEN;
}

/** Last character of a name, the family name hidden: `*三`, `*****娜`. One character alone is hidden. */
export function maskPersonName(name: string): string {
  return [...name].length > 1 && name.isWellFormed() ? keepEnds(name, 0, 1) : HIDDEN;
}

function keepEnds(text: string, head: number, tail: number): string {
  const characters = [...text];
  const last = characters.length - tail;
  return characters.map((character, i) => (i < head || i >= last ? character : "*")).join("");
}
