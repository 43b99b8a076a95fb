/** What goes to a biometric source and comes back (NI-28e): `POST /biometric/v1/checks`. Pure. */
import { plainResults, readBaseAnswer, refused, unanswerable, verdictOf } from "../base-answer.ts";
import type { Dialect } from "../signed-http.ts";
import { judgeSimilarity } from "../source.ts";

const SIMILARITY_MAX = 1_000;
/** Who has no picture on file has no record to compare with. */
const verdicts = { ...plainResults, NO_PHOTO: "NO_RECORD" } as const;

export const dialect: Dialect = {
  path: "/biometric/v1",
  nounOf: () => "checks",
  // The image travels in the body and nowhere else.
  writeCheck: ({ bizSeq, claim, purpose }) => {
    if (claim.type !== "PERSON_FACE") throw unanswerable();
    return { bizSeq, citizenId: claim.citizenId, name: claim.personName, image: claim.faceImage, purpose };
  },
  readAnswer: (json, check, level, nowMs) => {
    const answer = readBaseAnswer(json, check, nowMs);
    const similarity = answer.fields["similarity"];
    const fits = typeof similarity === "number" && Number.isInteger(similarity);
    if (!fits || similarity < 0 || similarity > SIMILARITY_MAX) throw refused("has no similarity");
    const { checkedAtMs } = answer;
    return judgeSimilarity({ verdict: verdictOf(answer, verdicts), checkedAtMs, level, similarity }, check);
  },
};
