import { timestampMs } from "@bufbuild/protobuf/wkt";
import { claimTypes } from "../claim-types.ts";
import { fail, failIfAny } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

export const describeCases: readonly SuiteCase[] = [
  {
    id: "describe.source-id",
    title: { en: "Describes itself by its registered id", zh: "以登记的标识描述自己" },
    requirement: "SZ-9",
    run: async (bench) => {
      const { sourceId } = await bench.described();
      return sourceId === bench.options.sourceId ? undefined : fail("source_id is another");
    },
  },
  {
    id: "describe.claim-types",
    title: { en: "Describes claim types of the contract, each once", zh: "所列核验类型均属合同且不重复" },
    requirement: "SZ-9",
    run: async (bench) => {
      const { claimTypes: described } = await bench.described();
      const problems = described.filter((type) => !claimTypes.some((known) => known.type === type));
      if (described.length === 0) fail("describes no claim type");
      if (new Set(described).size !== described.length) fail("describes a claim type twice");
      return problems.length === 0 ? undefined : fail(`describes unknown claim types: ${problems.join(", ")}`);
    },
  },
  {
    id: "describe.level",
    title: { en: "Describes a level of assurance from 1 to 3", zh: "级别为 1 至 3" },
    requirement: "SZ-11.2",
    run: async (bench) => {
      const { level } = await bench.described();
      return level >= 1 && level <= 3 ? undefined : fail(`level is ${level}`);
    },
  },
  {
    id: "describe.pace",
    title: { en: "Describes its rate and its usual latency", zh: "说明速率与通常时延" },
    requirement: "SZ-9",
    run: async (bench) => {
      const { rateLimitPerSecond, usualLatency } = await bench.described();
      const latencyMs =
        usualLatency === undefined ? 0 : Number(usualLatency.seconds) * 1_000 + usualLatency.nanos / 1e6;
      failIfAny([
        ...(rateLimitPerSecond < 1 ? ["rate_limit_per_second is 0"] : []),
        ...(latencyMs <= 0 || latencyMs > 10_000 ? ["usual_latency is not between 0 and 10 s"] : []),
      ]);
      return `${rateLimitPerSecond} a second, ${latencyMs} ms`;
    },
  },
  {
    id: "describe.maintenance",
    title: { en: "Announces maintenance windows that are windows, soonest first", zh: "维护窗口有效且按时间排列" },
    requirement: "SZ-9",
    run: async (bench) => {
      const { maintenance } = await bench.described();
      const windows = maintenance.map(({ startTime, endTime }) => ({
        startMs: startTime === undefined ? Number.NaN : timestampMs(startTime),
        endMs: endTime === undefined ? Number.NaN : timestampMs(endTime),
      }));
      const nowMs = bench.options.clock.nowMs();
      failIfAny([
        ...(windows.every(({ startMs, endMs }) => startMs < endMs) ? [] : ["a window does not end after its start"]),
        ...(windows.every(({ startMs }, i) => startMs >= (windows[i - 1]?.startMs ?? startMs))
          ? []
          : ["not soonest first"]),
        ...(windows.some(({ startMs, endMs }) => startMs <= nowMs && nowMs < endMs) ? ["is in maintenance now"] : []),
      ]);
      return undefined;
    },
  },
];
