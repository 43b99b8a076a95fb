/** What the Node process is doing: event loop, memory, processor time. Names are OpenTelemetry's conventions. */
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Attributes, Meter, ObservableGauge, ObservableResult } from "@opentelemetry/api";

const NANOSECONDS = 1e9;

/** Registers the gauges; dispose to stop the event-loop monitor. They are read only when metrics are collected. */
export function observeRuntime(meter: Meter): Disposable {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  observeDelay(meter, delay);
  observeUtilization(meter);
  observeProcess(meter);
  return { [Symbol.dispose]: () => delay.disable() };
}

function observeDelay(meter: Meter, delay: ReturnType<typeof monitorEventLoopDelay>): void {
  const readings: Readonly<Record<string, () => number>> = {
    min: () => delay.min,
    max: () => delay.max,
    mean: () => delay.mean,
    stddev: () => delay.stddev,
    p50: () => delay.percentile(50),
    p90: () => delay.percentile(90),
    p99: () => delay.percentile(99),
  };
  const gauges = Object.entries(readings).map(([name, read]): [ObservableGauge<Attributes>, () => number] => [
    meter.createObservableGauge(`nodejs.eventloop.delay.${name}`, {
      description: `Event loop delay, ${name}`,
      unit: "s",
    }),
    read,
  ]);
  meter.addBatchObservableCallback(
    (result) => {
      // Before the first tick of the monitor there is no mean.
      if (delay.count === 0) return;
      for (const [gauge, read] of gauges) result.observe(gauge, read() / NANOSECONDS);
      delay.reset();
    },
    gauges.map(([gauge]) => gauge),
  );
}

function observeUtilization(meter: Meter): void {
  let last = performance.eventLoopUtilization();
  const description = "Share of the time that the event loop was busy since the last collection";
  observe(meter, "nodejs.eventloop.utilization", description, "1", (result) => {
    const now = performance.eventLoopUtilization();
    result.observe(performance.eventLoopUtilization(now, last).utilization);
    last = now;
  });
}

function observeProcess(meter: Meter): void {
  observe(meter, "process.memory.usage", "Resident memory", "By", (result) =>
    result.observe(process.memoryUsage.rss()),
  );
  observe(meter, "v8js.memory.heap.used", "Heap in use", "By", (result) =>
    result.observe(process.memoryUsage().heapUsed),
  );
  meter
    .createObservableCounter("process.cpu.time", { description: "Processor time", unit: "s" })
    .addCallback((result) => {
      const { user, system } = process.cpuUsage();
      result.observe(user / 1e6, { "cpu.mode": "user" });
      result.observe(system / 1e6, { "cpu.mode": "system" });
    });
  meter
    .createObservableGauge("process.uptime", { description: "Time since the process started", unit: "s" })
    .addCallback((result) => result.observe(process.uptime()));
}

function observe(
  meter: Meter,
  name: string,
  description: string,
  unit: string,
  callback: (result: ObservableResult) => void,
): void {
  meter.createObservableGauge(name, { description, unit }).addCallback(callback);
}
