/** What goes to a carrier and comes back (NI-28b): `POST /carrier/v1/checks`. Pure. */
import { readPlainAnswer, unanswerable } from "../base-answer.ts";
import type { Dialect } from "../signed-http.ts";

export const dialect: Dialect = {
  path: "/carrier/v1",
  nounOf: () => "checks",
  writeCheck: ({ bizSeq, claim, purpose }) => {
    if (claim.type !== "PERSON_CARRIER") throw unanswerable();
    return { bizSeq, citizenId: claim.citizenId, name: claim.personName, phone: claim.phone, purpose };
  },
  readAnswer: readPlainAnswer,
};
