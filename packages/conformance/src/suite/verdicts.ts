import { Verdict } from "@fujie/api/fujie/source/v1/source";
import { parseAssertion } from "../bench.ts";
import { type ClaimTypeFacts, claimTypes } from "../claim-types.ts";
import { fail, failIfAny, notApplicable } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

/** A field of time may be a few bytes longer in one message than in another. */
const SIZE_DIFFERENCE_MAX = 16;

export const verdictCases: readonly SuiteCase[] = [
  ...claimTypes.map(verdictCase),
  {
    id: "verdict.shape",
    title: {
      en: "A mismatch and a missing record have the same shape",
      zh: "不一致与无记录的应答形状相同",
    },
    requirement: "SZ-13.2",
    run: async (bench) => {
      const given = await bench.given();
      const problems: string[] = [];
      for (const mismatch of given.filter(({ expected }) => expected === "MISMATCH")) {
        const { name } = mismatch.facts;
        const none = given.find(({ facts, expected }) => facts === mismatch.facts && expected === "NO_RECORD");
        if (none === undefined) continue;
        const difference = Math.abs(mismatch.reply.bytes - none.reply.bytes);
        if (difference > SIZE_DIFFERENCE_MAX) problems.push(`${name}: sizes differ by ${difference} bytes`);
        if (mismatch.reply.metadataKeys.join() !== none.reply.metadataKeys.join()) {
          problems.push(`${name}: other headers or trailers`);
        }
        if (mismatch.assertion.level !== none.assertion.level) problems.push(`${name}: another level`);
      }
      failIfAny(problems);
      return given.length === 0 ? fail("there is no answer to look at") : undefined;
    },
  },
];

function verdictCase(facts: ClaimTypeFacts): SuiteCase {
  return {
    id: `verdict.${facts.name.toLowerCase().replaceAll("_", "-")}`,
    title: {
      en: `${facts.name}: match, mismatch and missing record are answers`,
      zh: `${facts.name}：一致、不一致、无记录均为结果`,
    },
    requirement: "SZ-11.2",
    run: async (bench) => {
      const { claimTypes: described } = await bench.described();
      if (!described.includes(facts.type)) return notApplicable("the source does not describe this claim type");
      const samples = (await bench.samples()).filter((sample) => sample.facts === facts);
      if (samples.length === 0) return fail("left out: no test subjects for a described claim type");
      failIfAny(
        samples.flatMap(({ expected, reply }) => {
          if (reply.code !== "OK") return [`${expected}: ended with ${reply.code}`];
          const verdict = parseAssertion(reply.message?.assertion)?.verdict;
          const found = verdict === undefined ? "no assertion" : (Verdict[verdict] ?? String(verdict));
          return found === expected ? [] : [`${expected}: answered ${found}`];
        }),
      );
      return undefined;
    },
  };
}
