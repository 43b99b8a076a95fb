/** What the cases of the suite work with: the source, the test subjects, and answers that were asked for once. */
import type { KeyObject } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import type { CheckResponse, GetOutcomeResponse } from "@fujie/api/fujie/source/v1/source";
import {
  type Assertion,
  AssertionSchema,
  type CheckRequest,
  CheckRequestSchema,
  type ClaimType,
  type DescribeResponse,
  type SignedAssertion,
} from "@fujie/api/fujie/source/v1/source";
import { type ClaimElements, type ClaimTypeFacts, claimTypes } from "./claim-types.ts";
import type { Control } from "./control.ts";
import { fail, notApplicable } from "./outcome.ts";
import type { Answer, Subjects } from "./subjects.ts";
import type { CallOptions, ClientIdentity, Reply, Wire } from "./wire.ts";

export interface BenchOptions {
  readonly endpoint: string;
  readonly sourceId: string;
  readonly peerName: string;
  readonly audience: string;
  readonly ca: string;
  readonly client: ClientIdentity;
  /** A certificate of the platform's authority that names another service. */
  readonly otherClient: ClientIdentity | undefined;
  /** The source's registered assertion keys, by id. */
  readonly assertionKeys: ReadonlyMap<string, KeyObject>;
  /** Test subjects by the claim type's name. */
  readonly subjects: ReadonlyMap<string, Subjects>;
  readonly control: Control | undefined;
  readonly stress: boolean;
  readonly clock: { nowMs(): number };
  sleep(ms: number): Promise<void>;
  randomBytes(size: number): Uint8Array<ArrayBuffer>;
}

/** One check of a test subject and what came back. */
export interface Sample {
  readonly facts: ClaimTypeFacts;
  readonly expected: Answer;
  readonly elements: ClaimElements;
  readonly request: CheckRequest;
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
  readonly reply: Reply<CheckResponse>;
}

/** A sample that was answered with an assertion which can be parsed. */
export interface Given extends Sample {
  readonly signed: SignedAssertion;
  readonly assertion: Assertion;
}

export interface Bench {
  readonly options: BenchOptions;
  readonly wire: Wire;
  /** Everything that refusals said so far. */
  readonly said: readonly string[];
  /** The source's description, asked for once. Fails the case when there is none. */
  described(): Promise<DescribeResponse>;
  /** The described claim types for which there are test subjects. */
  testable(): Promise<readonly (readonly [ClaimTypeFacts, Subjects])[]>;
  /** One check for each test subject, asked for once. */
  samples(): Promise<readonly Sample[]>;
  given(): Promise<readonly Given[]>;
  /** A check of the first testable type that is true. */
  newCheck(change?: Partial<Pick<CheckRequest, "bizSeq" | "audience" | "purpose" | "nonce">>): Promise<CheckRequest>;
  checkOf(type: ClaimType, elements: ClaimElements): CheckRequest;
  newBizSeq(): string;
  /** Within the rate that the source grants. */
  check(request: CheckRequest | Uint8Array, options?: CallOptions): Promise<Reply<CheckResponse>>;
  getOutcome(bizSeq: string, options?: CallOptions): Promise<Reply<GetOutcomeResponse>>;
  /** Waits until so many calls may be sent at once. */
  reserve(calls: number): Promise<void>;
}

const PURPOSE = "conformance";
/** Where the described rate leaves room, some of it is left to others. */
const RATE_SHARE = 0.9;

export function createBench(options: BenchOptions, wire: Wire, said: readonly string[]): Bench {
  const { clock } = options;
  let describing: Promise<DescribeResponse> | undefined;
  let sampling: Promise<readonly Sample[]> | undefined;
  let freeAtMs = 0;

  const bench: Bench = {
    options,
    wire,
    said,
    described() {
      describing ??= describe(wire);
      return describing;
    },
    async testable() {
      const { claimTypes: described } = await bench.described();
      return claimTypes.flatMap((facts) => {
        const subjects = options.subjects.get(facts.name);
        return subjects === undefined || !described.includes(facts.type) ? [] : [[facts, subjects] as const];
      });
    },
    samples() {
      sampling ??= takeSamples(bench);
      return sampling;
    },
    given: async () => (await bench.samples()).flatMap((sample) => open(sample)),
    async newCheck(change = {}) {
      const [first] = await bench.testable();
      if (first === undefined) return fail("there are no test subjects for any described claim type");
      const [facts, subjects] = first;
      return { ...bench.checkOf(facts.type, subjects.MATCH), ...change };
    },
    checkOf: (claimType, elements) =>
      create(CheckRequestSchema, {
        bizSeq: bench.newBizSeq(),
        claimType,
        elements,
        purpose: PURPOSE,
        audience: options.audience,
        nonce: options.randomBytes(32),
      }),
    newBizSeq: () => Buffer.from(options.randomBytes(16)).toString("hex"),
    async check(request, more) {
      await bench.reserve(1);
      return wire.check(request, more);
    },
    getOutcome: (bizSeq, more) => wire.getOutcome(bizSeq, more),
    async reserve(calls) {
      const { rateLimitPerSecond } = await bench.described();
      const eachMs = 1_000 / (Math.max(rateLimitPerSecond, 1) * RATE_SHARE);
      const waitMs = freeAtMs - clock.nowMs();
      freeAtMs = Math.max(freeAtMs, clock.nowMs()) + calls * eachMs;
      if (waitMs > 0) await options.sleep(waitMs);
    },
  };
  return bench;
}

async function describe(wire: Wire): Promise<DescribeResponse> {
  const { code, message } = await wire.describe();
  return message ?? fail(`Describe ended with ${code}${code === "OK" ? " and no readable message" : ""}`);
}

async function takeSamples(bench: Bench): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for (const [facts, subjects] of await bench.testable()) {
    for (const expected of ["MATCH", "MISMATCH", "NO_RECORD"] as const) {
      const elements = subjects[expected];
      const request = bench.checkOf(facts.type, elements);
      await bench.reserve(1);
      const askedAtMs = bench.options.clock.nowMs();
      const reply = await bench.wire.check(request);
      samples.push({ facts, expected, elements, request, askedAtMs, answeredAtMs: bench.options.clock.nowMs(), reply });
    }
  }
  return samples;
}

function open(sample: Sample): Given[] {
  const signed = sample.reply.message?.assertion;
  const assertion = parseAssertion(signed);
  return signed === undefined || assertion === undefined ? [] : [{ ...sample, signed, assertion }];
}

export function parseAssertion(signed: SignedAssertion | undefined): Assertion | undefined {
  if (signed === undefined) return undefined;
  try {
    return fromBinary(AssertionSchema, signed.assertion);
  } catch {
    return undefined;
  }
}

/** The control hook, or the end of the case as not applicable. */
export function requireControl({ options: { control } }: Bench): Control {
  return control ?? notApplicable("cannot be brought about from outside: needs --control");
}
