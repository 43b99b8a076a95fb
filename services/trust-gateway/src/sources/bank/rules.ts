/** What goes to a bank and comes back: three elements, or four (NI-28c, NI-28d): `POST /bank/v1/checks`. Pure. */
import { readPlainAnswer, unanswerable } from "../base-answer.ts";
import type { Dialect } from "../signed-http.ts";

export const dialect: Dialect = {
  path: "/bank/v1",
  nounOf: () => "checks",
  writeCheck: ({ bizSeq, claim, purpose }) => {
    if (claim.type !== "PERSON_BANK_CARD" && claim.type !== "PERSON_BANK_CARD_PHONE") throw unanswerable();
    const phone = claim.type === "PERSON_BANK_CARD_PHONE" ? { phone: claim.phone } : {};
    return { bizSeq, citizenId: claim.citizenId, name: claim.personName, bankCard: claim.bankCard, ...phone, purpose };
  },
  readAnswer: readPlainAnswer,
};
