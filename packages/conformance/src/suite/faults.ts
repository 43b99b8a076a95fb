import { type Bench, requireControl } from "../bench.ts";
import type { Control } from "../control.ts";
import { fail, failIfAny } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

/** What nobody can bring about from outside; needs the control hook. */
export const faultCases: readonly SuiteCase[] = [
  {
    id: "fault.lost-answer",
    title: {
      en: "A lost answer is found by GetOutcome and billed once",
      zh: "丢失的答复可由 GetOutcome 查到，且只计费一次",
    },
    requirement: "SZ-9, SZ-21",
    run: (bench) =>
      controlled(bench, async (control) => {
        const before = await control.billed();
        const request = await bench.newCheck();
        await control.behave("drop");
        const lost = await bench.check(request);
        if (lost.code === "OK") return fail("the answer was not lost: the control hook does nothing");
        await control.behave("none");
        const outcome = await settled(bench, request.bizSeq);
        const again = await bench.check(request);
        const [known, repeated] = [outcome.message?.assertion, again.message?.assertion];
        if (known === undefined) return fail(`GetOutcome ended with ${outcome.code}`);
        if (repeated === undefined) return fail(`the repeat ended with ${again.code}`);
        const billed = (await control.billed()) - before;
        failIfAny([
          ...(Buffer.from(known.signature).equals(repeated.signature) ? [] : ["the repeat was signed anew"]),
          ...(billed === 1 ? [] : [`billed ${billed} times`]),
        ]);
        return undefined;
      }),
  },
  {
    id: "fault.maintenance",
    title: {
      en: "Maintenance is UNAVAILABLE with RetryInfo, unbilled, and Describe still answers",
      zh: "维护期间返回 UNAVAILABLE 并附 RetryInfo，不计费，Describe 仍应答",
    },
    requirement: "SZ-9",
    run: (bench) =>
      controlled(bench, async (control) => {
        const before = await control.billed();
        await control.behave("maintenance");
        const { code, retryAfterMs } = await bench.check(await bench.newCheck());
        const described = await bench.wire.describe();
        const billed = (await control.billed()) - before;
        failIfAny([
          ...(code === "UNAVAILABLE" ? [] : [`the check ended with ${code}`]),
          ...(retryAfterMs === undefined ? ["there is no RetryInfo"] : []),
          ...(described.code === "OK" ? [] : [`Describe ended with ${described.code}`]),
          ...(billed === 0 ? [] : [`billed ${billed} times`]),
        ]);
        return undefined;
      }),
  },
  {
    id: "fault.billing",
    title: {
      en: "An answer is billed once, repeats, outcomes and refusals never",
      zh: "答复计费一次；重复、查询与拒绝不计费",
    },
    requirement: "SZ-21",
    run: (bench) =>
      controlled(bench, async (control) => {
        const before = await control.billed();
        const request = await bench.newCheck();
        await bench.check(request);
        await bench.check(request);
        await bench.getOutcome(request.bizSeq);
        await bench.check(await bench.newCheck({ nonce: new Uint8Array() }));
        const billed = (await control.billed()) - before;
        return billed === 1 ? undefined : fail(`billed ${billed} times instead of once`);
      }),
  },
];

/** The source is left as it was found, also when the case fails. */
async function controlled(bench: Bench, run: (control: Control) => Promise<undefined>): Promise<undefined> {
  const control = requireControl(bench);
  await control.reset();
  try {
    return await run(control);
  } finally {
    await control.reset();
  }
}

/** The connection was cut with the answer: the first call after that may fail, too. */
async function settled(bench: Bench, bizSeq: string) {
  const first = await bench.getOutcome(bizSeq);
  if (first.code !== "UNAVAILABLE") return first;
  await bench.options.sleep(300);
  return bench.getOutcome(bizSeq);
}
