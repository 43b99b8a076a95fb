/**
 * A cheap gRPC client as a process of its own: node load.ts <ca file>. Each line on its standard input is a Job; it
 * answers each with a line, a LoadResult. Bodies are made before the clock starts.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { createInterface } from "node:readline";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Outcome, VerifyRequestSchema, VerifyResponseSchema } from "@fujie/api/fujie/trust/v1/verification";
import { BounceRequestSchema } from "../../../packages/kit/tests/gen/fujie/testing/v1/testing_pb.js";
import { percentile } from "../suite.ts";

export interface Job {
  readonly port: number;
  readonly token: string;
  /** Verifications of these in turn, each a question of its own; absent: as many echoes. */
  readonly questions?: readonly Question[];
  readonly calls: number;
  /** Either so many at once, one after the other, */
  readonly inFlight?: number;
  /** or so many a second, whether or not those before have ended. */
  readonly perSecond?: number;
  /** The deadline of each call. */
  readonly timeoutMs?: number;
}

export interface Question {
  readonly claim: {
    readonly type: number;
    readonly citizenId?: string;
    readonly personName?: string;
    readonly uscc?: string;
    readonly organisationName?: string;
  };
  readonly purpose: string;
  readonly legalBasis: string;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly elapsedMs: number;
  /** Of the calls that were answered with OK, in milliseconds. */
  readonly answered: Latencies;
  /** Of those that were refused. */
  readonly refused: Latencies;
  /** How many ended how: an Outcome's name, "ECHO", or "status <gRPC code>". */
  readonly ends: Readonly<Record<string, number>>;
}

export interface Latencies {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const TIMEOUT_MS = 10_000;
const VERIFY = "/fujie.trust.v1.VerificationService/Verify";
const ECHO = "/fujie.testing.v1.ProbeService/Bounce";

interface Ended {
  readonly end: string;
  readonly tookMs: number;
}

async function run(job: Job, session: http2.ClientHttp2Session): Promise<LoadResult> {
  const bodies = Array.from({ length: job.calls }, (_, at) => encodeBody(job, at));
  const ended: Ended[] = [];
  const startMs = performance.now();
  const callOne = async (at: number, dueMs: number): Promise<void> => {
    const end = await call(session, job, bodies[at] ?? Buffer.alloc(0));
    ended.push({ end, tookMs: performance.now() - dueMs });
  };
  if (job.perSecond === undefined) {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < job.calls) await callOne(next++, performance.now());
    };
    await Promise.all(Array.from({ length: job.inFlight ?? 1 }, worker));
  } else {
    await atPace(job.calls, 1_000 / job.perSecond, callOne);
  }
  const elapsedMs = performance.now() - startMs;
  const isRefusal = ({ end }: Ended) => end.startsWith("status");
  return {
    perSecond: (job.calls * 1_000) / elapsedMs,
    elapsedMs,
    answered: latenciesOf(ended.filter((one) => !isRefusal(one))),
    refused: latenciesOf(ended.filter(isRefusal)),
    ends: countEnds(ended),
  };
}

/** Starts each call when it is due; several may be due at once, for timers are coarse. */
async function atPace(
  calls: number,
  everyMs: number,
  work: (at: number, dueMs: number) => Promise<void>,
): Promise<void> {
  const startMs = performance.now();
  const running: Promise<void>[] = [];
  for (let at = 0; at < calls; ) {
    const nowMs = performance.now();
    for (; at < calls && startMs + at * everyMs <= nowMs; at += 1) running.push(work(at, startMs + at * everyMs));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(running);
}

function encodeBody({ questions }: Job, at: number): Buffer {
  const question = questions?.[at % questions.length];
  const message =
    question === undefined
      ? toBinary(BounceRequestSchema, create(BounceRequestSchema, { text: "符节".repeat(16), number: 7 }))
      : toBinary(VerifyRequestSchema, create(VerifyRequestSchema, requestOf(question)));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function requestOf({ claim, purpose, legalBasis }: Question): MessageInitShape<typeof VerifyRequestSchema> {
  return { requestId: randomUUID(), claim, purpose, ground: { case: "legalBasis", value: legalBasis } };
}

function call(session: http2.ClientHttp2Session, job: Job, body: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": job.questions === undefined ? ECHO : VERIFY,
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": `${job.timeoutMs ?? TIMEOUT_MS}m`,
      ...(job.token === "" ? {} : { authorization: `Bearer ${job.token}` }),
    });
    const chunks: Buffer[] = [];
    let status = "status unknown";
    const readStatus = (headers: http2.IncomingHttpHeaders): void => {
      const code = headers["grpc-status"];
      if (code !== undefined) status = code === "0" ? "" : `status ${code}`;
    };
    stream.once("response", readStatus);
    stream.once("trailers", readStatus);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("error", () => resolve("status broken"));
    stream.once("close", () => resolve(status === "" ? endOf(job, Buffer.concat(chunks)) : status));
    stream.end(body);
  });
}

function endOf({ questions }: Job, answer: Buffer): string {
  if (questions === undefined) return "ECHO";
  const { verification } = fromBinary(VerifyResponseSchema, answer.subarray(5));
  return Outcome[verification?.outcome ?? Outcome.UNSPECIFIED];
}

function latenciesOf(ended: readonly Ended[]): Latencies {
  const times = ended.map(({ tookMs }) => tookMs);
  return {
    count: times.length,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    p999: percentile(times, 0.999),
    max: Math.max(0, ...times),
  };
}

function countEnds(ended: readonly Ended[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { end } of ended) counts[end] = (counts[end] ?? 0) + 1;
  return counts;
}

const [caFile = ""] = process.argv.slice(2);
const ca = readFileSync(caFile);
const sessions = new Map<number, http2.ClientHttp2Session>();

function sessionTo(port: number): http2.ClientHttp2Session {
  const known = sessions.get(port);
  if (known !== undefined && !known.closed && !known.destroyed) return known;
  const session = http2.connect(`https://localhost:${port}`, { ca, peerMaxConcurrentStreams: 10_000 });
  session.on("error", () => session.destroy());
  sessions.set(port, session);
  return session;
}

for await (const line of createInterface({ input: process.stdin })) {
  const job: Job = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await run(job, sessionTo(job.port)))}\n`);
}
process.exit(0);
