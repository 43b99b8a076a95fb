import { fail } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

/** Shorter texts turn up by chance. */
const TEXT_MIN = 2;

/** The last of all cases: it looks at everything that the source has said until then. */
export const privacyCases: readonly SuiteCase[] = [
  {
    id: "privacy.refusals",
    title: { en: "No refusal and no trailer repeats an element", zh: "错误信息与元数据不含任何要素" },
    requirement: "SZ-11.3",
    run: async ({ options, said }) => {
      const elements = [...options.subjects.values()]
        .flatMap((subjects) => Object.values(subjects))
        .flatMap((claim) => Object.entries(claim))
        .filter(([name, value]) => name !== "documentExpireDate" && value.length >= TEXT_MIN);
      for (const [name, value] of elements) {
        // The beginning alone: a refused number is a spoilt one, and its end is what was spoilt.
        const text = typeof value === "string" ? value.slice(0, 10) : undefined;
        if (text !== undefined && said.some((one) => one.includes(text))) return fail(`a response repeats ${name}`);
      }
      return `${said.length} responses searched`;
    },
  },
];
