import { ClaimType } from "@fujie/api/fujie/source/v1/source";
import type { Bench } from "../bench.ts";
import { fail, failIfAny, notApplicable } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

const METADATA_BYTES = 4 * 1024;
const METADATA_BYTES_TOO_MANY = 256 * 1024;
const FACE_BYTES_MAX = 512 * 1024;
const MESSAGE_BYTES_TOO_MANY = 1_536 * 1024;
/** Exceeding a higher rate would test the network more than the source. */
const STRESS_RATE_MAX = 200;
const LAWFUL_BURST = 1.6;
/** Beyond that many times the described latency an answer is called slow. */
const SLOW_TIMES = 3;

export const limitCases: readonly SuiteCase[] = [
  {
    id: "limits.metadata",
    title: { en: "Ignores 4 KiB of metadata that it does not know", zh: "忽略 4 KiB 以内的未知元数据" },
    requirement: "SZ-9",
    run: async (bench) => {
      const metadata = { "x-conformance": "m".repeat(METADATA_BYTES - 100) };
      const { code } = await bench.check(await bench.newCheck(), { metadata });
      return code === "OK" ? undefined : fail(`the check ended with ${code}`);
    },
  },
  {
    id: "limits.metadata-flood",
    title: { en: "Stays up after 256 KiB of metadata", zh: "收到 256 KiB 元数据后仍能服务" },
    requirement: "SZ-9",
    run: async (bench) => {
      const metadata = { "x-conformance": "m".repeat(METADATA_BYTES_TOO_MANY) };
      const flood = await bench.check(await bench.newCheck(), { metadata });
      await requireService(bench);
      return `the flood ended with ${flood.code}`;
    },
  },
  {
    id: "limits.face-image",
    title: { en: "Reads a face image of 512 KiB", zh: "可接收 512 KiB 的人脸图像" },
    requirement: "NI-28e",
    run: async (bench) => {
      const face = (await bench.testable()).find(([{ type }]) => type === ClaimType.PERSON_FACE);
      if (face === undefined) return notApplicable("the source does not describe PERSON_FACE");
      const faceImage = new Uint8Array(FACE_BYTES_MAX);
      faceImage.set([0xff, 0xd8, 0xff]);
      const { code } = await bench.check(bench.checkOf(ClaimType.PERSON_FACE, { ...face[1].MATCH, faceImage }));
      // It is no face; whether that is a mismatch or a malformed picture is for the source to say.
      return code === "OK" || code === "INVALID_ARGUMENT" ? undefined : fail(`the check ended with ${code}`);
    },
  },
  {
    id: "limits.message",
    title: { en: "Refuses a message over 1 MiB and stays up", zh: "拒绝超过 1 MiB 的消息且仍能服务" },
    requirement: "SZ-9",
    run: async (bench) => {
      const request = await bench.newCheck({ purpose: "p".repeat(MESSAGE_BYTES_TOO_MANY) });
      const { code } = await bench.check(request);
      if (code === "OK") return fail("it was answered");
      await requireService(bench);
      return `ended with ${code}`;
    },
  },
  {
    id: "limits.quota",
    title: {
      en: "Refuses what is over the rate with RESOURCE_EXHAUSTED and RetryInfo",
      zh: "超出速率时返回 RESOURCE_EXHAUSTED 并附 RetryInfo",
    },
    requirement: "SZ-9",
    run: async (bench) => {
      const { rateLimitPerSecond: rate } = await bench.described();
      if (!bench.options.stress) return notApplicable("only with --stress");
      if (rate > STRESS_RATE_MAX) return notApplicable(`the described rate is above ${STRESS_RATE_MAX} a second`);
      const requests = await Promise.all(Array.from({ length: rate * 3 + 5 }, () => bench.newCheck()));
      const startedMs = performance.now();
      const replies = await Promise.all(requests.map((request) => bench.wire.check(request)));
      const perSecond = (replies.length * 1_000) / (performance.now() - startedMs);
      const refused = replies.filter(({ code }) => code === "RESOURCE_EXHAUSTED");
      const others = replies.filter(({ code }) => code !== "RESOURCE_EXHAUSTED" && code !== "OK");
      if (refused.length === 0 && others.length === 0) {
        // Three seconds' worth may lawfully pass in a little more than two, by a count that begins anew each second.
        if (perSecond <= rate * LAWFUL_BURST)
          return notApplicable(`${Math.round(perSecond)} a second got through: not above the rate`);
        return fail(`${replies.length} checks were all answered, ${Math.round(perSecond)} a second`);
      }
      failIfAny([
        ...others.map(({ code }) => `a check ended with ${code}`),
        ...(refused.every(({ retryAfterMs }) => retryAfterMs !== undefined) ? [] : ["a refusal has no RetryInfo"]),
      ]);
      const waitMs = Math.max(...refused.map(({ retryAfterMs = 0 }) => retryAfterMs));
      await bench.options.sleep(Math.min(waitMs, 10_000));
      await requireService(bench);
      return `${refused.length} of ${replies.length} refused`;
    },
  },
  {
    id: "limits.latency",
    title: { en: "Answers about as fast as it describes (a warning only)", zh: "应答时间与所描述相近（仅作提示）" },
    requirement: "SZ-9",
    run: async (bench) => {
      const { usualLatency } = await bench.described();
      const usualMs = Number(usualLatency?.seconds ?? 0n) * 1_000 + (usualLatency?.nanos ?? 0) / 1e6;
      const times = (await bench.samples()).map(({ reply }) => reply.elapsedMs).sort((a, b) => a - b);
      const medianMs = times[Math.floor(times.length / 2)] ?? 0;
      const found = `median ${Math.round(medianMs)} ms, described ${Math.round(usualMs)} ms`;
      return medianMs > usualMs * SLOW_TIMES ? `WARNING: slow: ${found}` : found;
    },
  },
];

async function requireService(bench: Bench): Promise<void> {
  const request = await bench.newCheck();
  // The connection may have been closed with the refusal: the second call opens the next one.
  const first = await bench.check(request);
  const { code } = first.code === "OK" ? first : await retryOf(bench, request);
  if (code !== "OK") fail(`the next check ended with ${code}`);
}

async function retryOf(bench: Bench, request: Awaited<ReturnType<Bench["newCheck"]>>) {
  await bench.options.sleep(300);
  return bench.check(request);
}
