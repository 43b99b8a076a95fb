import type { CheckRequest, SignedAssertion } from "@fujie/api/fujie/source/v1/source";
import type { Bench } from "../bench.ts";
import { fail, failIfAny, notApplicable } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

const DUPLICATES = 5;
/** Time for a call that was given up to arrive, if it ever does. */
const SETTLE_MS = 150;

export const idempotencyCases: readonly SuiteCase[] = [
  {
    id: "idempotency.repeat",
    title: { en: "A repeat gets the very same assertion, byte for byte", zh: "重复请求得到逐字节相同的断言" },
    requirement: "SZ-9",
    run: async (bench) => {
      const request = await bench.newCheck();
      const first = await answerTo(bench, request);
      for (let i = 0; i < 2; i++) requireSame(first, await answerTo(bench, request));
      return undefined;
    },
  },
  {
    id: "idempotency.concurrent",
    title: { en: "Duplicates at the same moment get one assertion", zh: "同时到达的重复请求得到同一份断言" },
    requirement: "SZ-9",
    run: async (bench) => {
      const { rateLimitPerSecond } = await bench.described();
      const request = await bench.newCheck();
      const calls = Math.min(DUPLICATES, Math.max(2, rateLimitPerSecond));
      await bench.reserve(calls);
      const replies = await Promise.all(Array.from({ length: calls }, () => bench.wire.check(request)));
      const others = replies.filter(({ code }) => code !== "OK" && code !== "RESOURCE_EXHAUSTED");
      failIfAny(others.map(({ code }) => `a duplicate ended with ${code}`));
      const [first, ...more] = replies.flatMap(({ message }) => message?.assertion ?? []);
      if (first === undefined) return fail("no duplicate was answered");
      for (const one of more) requireSame(first, one);
      return undefined;
    },
  },
  {
    id: "idempotency.other-nonce",
    title: { en: "One biz_seq is never signed twice, not even over another nonce", zh: "同一 biz_seq 绝不二次签名" },
    requirement: "SZ-13.2",
    run: async (bench) => {
      const request = await bench.newCheck();
      const first = await answerTo(bench, request);
      const again = await bench.check({ ...request, nonce: bench.options.randomBytes(32) });
      if (again.code === "ALREADY_EXISTS") return undefined;
      if (again.message?.assertion === undefined) return fail(`ended with ${again.code}`);
      return requireSame(first, again.message.assertion);
    },
  },
  {
    id: "idempotency.other-elements",
    title: { en: "The same biz_seq with other elements is refused", zh: "同一 biz_seq 要素不同则拒绝" },
    requirement: "SZ-9",
    run: async (bench) => {
      const [first] = await bench.testable();
      const request = await bench.newCheck();
      if (first === undefined) return undefined;
      const [facts, subjects] = first;
      await answerTo(bench, request);
      const { elements } = bench.checkOf(facts.type, subjects.NO_RECORD);
      if (elements === undefined) return undefined;
      const { code } = await bench.check({ ...request, elements });
      return code === "ALREADY_EXISTS" ? undefined : fail(`ended with ${code} instead of ALREADY_EXISTS`);
    },
  },
  {
    id: "outcome.first",
    title: { en: "GetOutcome gives the assertion as it was first signed", zh: "GetOutcome 返回首次签出的断言" },
    requirement: "SZ-9",
    run: async (bench) => {
      const request = await bench.newCheck();
      const first = await answerTo(bench, request);
      return requireSame(first, await outcomeOf(bench, request.bizSeq));
    },
  },
  {
    id: "outcome.unknown",
    title: { en: "GetOutcome of what never arrived is NOT_FOUND", zh: "未收到过的 biz_seq 返回 NOT_FOUND" },
    requirement: "SZ-9",
    run: async (bench) => {
      const { code } = await bench.getOutcome(bench.newBizSeq());
      return code === "NOT_FOUND" ? undefined : fail(`ended with ${code} instead of NOT_FOUND`);
    },
  },
  {
    id: "outcome.malformed",
    title: { en: "GetOutcome refuses a malformed biz_seq", zh: "GetOutcome 拒绝格式错误的 biz_seq" },
    requirement: "SZ-9",
    run: async (bench) => {
      const problems: string[] = [];
      for (const bizSeq of ["", "0", "A".repeat(32), "0".repeat(33)]) {
        const { code } = await bench.getOutcome(bizSeq);
        if (code !== "INVALID_ARGUMENT") problems.push(`${bizSeq.length} characters: ended with ${code}`);
      }
      failIfAny(problems);
      return undefined;
    },
  },
  {
    id: "outcome.refused-check",
    title: {
      en: "A refused check leaves nothing behind, and its biz_seq stays free",
      zh: "被拒绝的请求不留痕迹，其 biz_seq 仍可使用",
    },
    requirement: "SZ-9",
    run: async (bench) => {
      const request = await bench.newCheck();
      const refused = await bench.check({ ...request, nonce: new Uint8Array() });
      if (refused.code === "OK") return notApplicable("the malformed check was answered: see malformed.nonce");
      const { code } = await bench.getOutcome(request.bizSeq);
      if (code !== "NOT_FOUND") return fail(`GetOutcome of the refused check ended with ${code}`);
      await answerTo(bench, request);
      return undefined;
    },
  },
  {
    id: "deadline.at-once",
    title: {
      en: "After a deadline of 1 ms GetOutcome tells the truth",
      zh: "1 毫秒超时之后，GetOutcome 如实答复",
    },
    requirement: "SZ-9",
    run: (bench) => giveUp(bench, { timeoutMs: 1 }),
  },
  {
    id: "deadline.in-flight",
    title: {
      en: "After a cancelled check GetOutcome tells the truth",
      zh: "中途取消之后，GetOutcome 如实答复",
    },
    requirement: "SZ-9",
    run: async (bench) => {
      const { usualLatency } = await bench.described();
      const usualMs = Number(usualLatency?.seconds ?? 0n) * 1_000 + (usualLatency?.nanos ?? 0) / 1e6;
      return giveUp(bench, { cancelAfterMs: Math.min(Math.max(usualMs / 2, 2), 2_000) });
    },
  },
];

/** Leaves a check before its answer: whatever GetOutcome says of it then has to stay true. */
async function giveUp(bench: Bench, patience: { timeoutMs?: number; cancelAfterMs?: number }): Promise<string> {
  const request = await bench.newCheck();
  const { code, message } = await bench.check(request, patience);
  if (!["OK", "DEADLINE_EXCEEDED", "CANCELLED"].includes(code)) return fail(`the call ended with ${code}`);
  await bench.options.sleep(SETTLE_MS);
  const outcome = await bench.getOutcome(request.bizSeq);
  const again = await answerTo(bench, request);
  if (message?.assertion !== undefined) requireSame(message.assertion, again);
  if (outcome.code === "NOT_FOUND") {
    requireSame(again, await outcomeOf(bench, request.bizSeq));
    return "it never arrived";
  }
  const known = outcome.message?.assertion;
  if (known === undefined) return fail(`GetOutcome ended with ${outcome.code}`);
  requireSame(known, again);
  return "it was done";
}

async function answerTo(bench: Bench, request: CheckRequest): Promise<SignedAssertion> {
  const { code, message } = await bench.check(request);
  return message?.assertion ?? fail(`the check ended with ${code}${code === "OK" ? " and no assertion" : ""}`);
}

async function outcomeOf(bench: Bench, bizSeq: string): Promise<SignedAssertion> {
  const { code, message } = await bench.getOutcome(bizSeq);
  return message?.assertion ?? fail(`GetOutcome ended with ${code}${code === "OK" ? " and no assertion" : ""}`);
}

function requireSame(one: SignedAssertion, other: SignedAssertion): undefined {
  if (!Buffer.from(one.assertion).equals(other.assertion)) return fail("the assertion is another");
  const signed = Buffer.from(one.signature).equals(other.signature) && one.keyId === other.keyId;
  return signed ? undefined : fail("the assertion is the same, signed anew");
}
