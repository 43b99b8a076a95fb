import type { AdapterContext, ClaimAdapter } from "../adapter.ts";
import { openSignedHttp } from "../signed-http.ts";
import type { Source, SourceFacts } from "../source.ts";
import { readAnswer, writeCheck } from "./rules.ts";
import { type BaseSettings, readSettings } from "./settings.ts";

export const adapter: ClaimAdapter<BaseSettings> = { readSettings, open };

function open(facts: SourceFacts, settings: BaseSettings, { clock }: AdapterContext): Source {
  const http = openSignedHttp({ ...settings, path: "/population/v1/checks", clock });
  return {
    ...facts,
    check: async (check, signal) =>
      readAnswer(await http.post(writeCheck(check), signal), check, facts.level, clock.nowMs()),
    findOutcome: async (check, signal) => {
      const answer = await http.get(check.bizSeq, signal);
      return answer === undefined ? undefined : readAnswer(answer, check, facts.level, clock.nowMs());
    },
    [Symbol.dispose]: () => {},
  };
}
