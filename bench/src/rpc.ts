/**
 * Suite rpc: what the kit's pipeline costs beside the bare libraries it stands on. Each server is a process of its own;
 * both sides of a pair are measured in short rounds that alternate, and the row is the median of the rounds' ratios,
 * for on a shared machine only what happens at the same time can be compared.
 */
import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createLocalCa } from "@fujie/kit/tls";
import { BounceRequestSchema, ProbeService } from "../../packages/kit/tests/gen/fujie/testing/v1/testing_pb.js";
import { accountId } from "../../packages/kit/tests/probe-server.ts";
import { median, type Row, type SuiteResult } from "./suite.ts";

/** Only the rows whose name holds this. */
const only = process.env["BENCH_ONLY"] ?? "";
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 31);
const callsPerRound = Number(process.env["BENCH_CALLS"] ?? 4000);
const warmUpRounds = 4;
const run_ = promisify(execFile);

interface Subject extends Disposable {
  readonly port: number;
  readonly token: string;
  /** CPU time of the server process so far, in seconds. */
  cpuSeconds(): Promise<number>;
}

async function startSubject(mode: string, directory: string): Promise<Subject> {
  const script = fileURLToPath(new URL("./rpc-server.ts", import.meta.url));
  const profile = process.env["BENCH_PROFILE"] === mode ? ["--cpu-prof", `--cpu-prof-dir=${directory}-profile`] : [];
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn(
    process.execPath,
    [...profile, script, mode, directory],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => {
    const line = await lines.next();
    if (line.done === true) throw new Error(`the ${mode} server ended`);
    return line.value;
  };
  const [port, token = ""] = (await nextLine()).split(" ");
  return {
    port: Number(port),
    token,
    async cpuSeconds() {
      child.stdin.write("cpu\n");
      return Number(await nextLine()) / 1e6;
    },
    [Symbol.dispose]: () => child.stdin.end(),
  };
}

/** Makes the calls of one round and gives calls per second. */
type Load = (subject: Subject) => Promise<number>;

function h2load(files: string, path: string, protocol: "grpc" | "json", callsAtOnce = 64): Load {
  return async ({ port, token }) => {
    const shape =
      protocol === "grpc"
        ? [
            "-c",
            "1",
            "-m",
            String(callsAtOnce),
            "-d",
            join(files, "body.grpc"),
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
          ]
        : ["--h1", "-c", "16", "-d", join(files, "body.json"), "-H", "content-type: application/json"];
    const auth = token === "" ? [] : ["-H", `authorization: Bearer ${token}`];
    const { stdout } = await run_("h2load", [
      "-n",
      String(callsPerRound),
      ...shape,
      ...auth,
      `http://127.0.0.1:${port}${path}`,
    ]);
    if (!stdout.includes(` ${callsPerRound} succeeded`)) throw new Error(`calls failed:\n${stdout}`);
    return Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(stdout)?.[1]);
  };
}

/** Calls per CPU second of the server, where our own client is too dear for throughput to tell anything. */
function cpuLoad(files: string, path: string, tls: readonly string[] | undefined): Load {
  return async (subject) => {
    const before = await subject.cpuSeconds();
    const script = fileURLToPath(new URL("./rpc-client.ts", import.meta.url));
    const url = `${tls === undefined ? "http" : "https"}://localhost:${subject.port}`;
    const family = ["--dns-result-order=ipv4first"];
    await run_(process.execPath, [
      ...family,
      script,
      url,
      path,
      join(files, "body.grpc"),
      String(callsPerRound),
      ...(tls ?? []),
    ]);
    return callsPerRound / ((await subject.cpuSeconds()) - before);
  };
}

interface Pair {
  readonly measure: string;
  readonly unit: string;
  readonly target: number;
  readonly ours: Subject;
  readonly base: Subject;
  readonly loadOurs: Load;
  readonly loadBase: Load;
}

async function measure(pair: Pair): Promise<Row[]> {
  if (!pair.measure.includes(only)) return [];
  const ours: number[] = [];
  const base: number[] = [];
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    const first = round % 2 === 0;
    const early = first ? await pair.loadOurs(pair.ours) : await pair.loadBase(pair.base);
    const late = first ? await pair.loadBase(pair.base) : await pair.loadOurs(pair.ours);
    if (round < 0) continue;
    ours.push(first ? early : late);
    base.push(first ? late : early);
  }
  const ratio = median(ours.map((value, round) => value / (base[round] ?? Number.NaN)));
  const { measure, unit, target } = pair;
  return [{ measure, value: median(ours), unit, baseline: median(base), ratio, target, ok: ratio >= target }];
}

export async function run(machine: string): Promise<SuiteResult> {
  const files = mkdtempSync(join(tmpdir(), "fujie-bench-"));
  try {
    const request = { accountId, text: "符节".repeat(16), number: 7 };
    const message = toBinary(BounceRequestSchema, create(BounceRequestSchema, request));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    writeFileSync(join(files, "body.grpc"), Buffer.concat([head, message]));
    writeFileSync(join(files, "body.json"), JSON.stringify(request));
    const { certFile, keyFile, caFile } = await (await createLocalCa(files)).issueService("bench");

    using bareGrpc = await startSubject("bare-grpc", files);
    using empty = await startSubject("empty", files);
    using emptyTls = await startSubject("empty-tls", files);
    using bareConnect = await startSubject("bare-connect", files);
    using connect = await startSubject("connect", files);
    const [bounce, secured] = ["/fujie.testing.v1.ProbeService/Bounce", "/fujie.testing.v1.ProbeService/Measure"];
    const rows: Row[] = [];
    const perSecond = "calls/s";
    {
      // Its token lives five minutes: the server starts when it is needed.
      using full = await startSubject("full", files);
      await checkAnswers({ empty, full, connect });
      rows.push(
        ...(await measure({
          measure: "gRPC, empty pipeline, against bare grpc-js + protobuf-es",
          ...{ unit: perSecond, target: 0.95, ours: empty, base: bareGrpc },
          ...{ loadOurs: h2load(files, bounce, "grpc"), loadBase: h2load(files, bounce, "grpc") },
        })),
        ...(await measure({
          measure: "gRPC, full pipeline, against bare grpc-js + protobuf-es",
          ...{ unit: perSecond, target: 0.75, ours: full, base: bareGrpc },
          ...{ loadOurs: h2load(files, secured, "grpc"), loadBase: h2load(files, bounce, "grpc") },
        })),
      );
    }
    rows.push(
      ...(await measure({
        measure: "Connect JSON over HTTP/1.1, against bare connect-node",
        ...{ unit: perSecond, target: 0.9, ours: connect, base: bareConnect },
        ...{ loadOurs: h2load(files, bounce, "json"), loadBase: h2load(files, bounce, "json") },
      })),
      ...(await measure({
        measure: "gRPC over mutual TLS, against clear text",
        ...{ unit: "calls/CPU s", target: 0.9, ours: emptyTls, base: empty },
        ...{
          loadOurs: cpuLoad(files, bounce, [certFile, keyFile, caFile]),
          loadBase: cpuLoad(files, bounce, undefined),
        },
      })),
    );
    return { suite: "rpc", machine, rows };
  } finally {
    rmSync(files, { recursive: true, force: true });
  }
}

/** h2load sees HTTP 200 whatever the gRPC status is: one real client per server makes sure that calls succeed. */
async function checkAnswers(subjects: { empty: Subject; full: Subject; connect: Subject }): Promise<void> {
  const grpc = (subject: Subject) =>
    createClient(ProbeService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${subject.port}` }));
  await grpc(subjects.empty).bounce({ text: "x" });
  const headers = { authorization: `Bearer ${subjects.full.token}` };
  await grpc(subjects.full).measure({ accountId, text: "x", number: 7 }, { headers });
  const baseUrl = `http://127.0.0.1:${subjects.connect.port}`;
  await createClient(ProbeService, createConnectTransport({ baseUrl, httpVersion: "1.1" })).bounce({ text: "x" });
}
