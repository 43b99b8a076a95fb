/**
 * Assertions of third-party sources (fujie.source.v1). Checks are named and in this order: the signature first, so that
 * nothing of an unsigned assertion is believed, then whose it is, then whether it answers exactly this check, then when.
 */
import { createHash, type KeyObject, timingSafeEqual, verify } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Assertion,
  AssertionSchema,
  ClaimType,
  type SignedAssertion,
  Verdict,
} from "@fujie/api/fujie/source/v1/source";
import type { ClaimElements } from "@fujie/identity";
import {
  ANSWER_AGE_MAX_MS,
  type Answer,
  type Check,
  isPlausibleCheckTime,
  judgeSimilarity,
  SourceError,
} from "../source.ts";

/** Undefined for a claim that the contract does not have: a certificate's possession is the CAs'. */
export function claimTypeOf({ type }: ClaimElements): ClaimType | undefined {
  return type === "CERTIFICATE_POSSESSION" ? undefined : ClaimType[type];
}

const nothing = {
  citizenId: "",
  personName: "",
  uscc: "",
  organisationName: "",
  phone: "",
  bankCard: "",
  faceImage: "",
  documentExpireDate: "",
  wardCitizenId: "",
  wardName: "",
};

export type Elements = Omit<typeof nothing, "faceImage"> & { readonly faceImage: Uint8Array<ArrayBuffer> };

export function writeElements(claim: ClaimElements): Elements {
  const { type: _, ...elements } = claim;
  const { faceImage, ...texts } = { ...nothing, ...elements };
  return { ...texts, faceImage: new Uint8Array(Buffer.from(faceImage, "base64")) };
}

export interface Expectation {
  readonly sourceId: string;
  readonly audience: string;
  readonly keys: ReadonlyMap<string, KeyObject>;
  readonly check: Check;
  /** The highest level that the source is registered for. */
  readonly level: number;
  readonly nowMs: number;
  /** The answer is to a question of just now, and not one that was asked for again by its bizSeq. */
  readonly live: boolean;
}

const DOMAIN = Buffer.from("fujie-source-assertion-v1\n");
const SIGNATURE_BYTES = 64;
const LEVEL_MAX = 3;

const verdicts: Readonly<Partial<Record<Verdict, Answer["verdict"]>>> = {
  [Verdict.MATCH]: "MATCH",
  [Verdict.MISMATCH]: "MISMATCH",
  [Verdict.NO_RECORD]: "NO_RECORD",
};

/** Each gives what is wrong, or nothing. */
const checks: readonly ((assertion: Assertion, expected: Expectation) => string | undefined | false)[] = [
  ({ sourceId }, expected) => sourceId !== expected.sourceId && "is another source's",
  ({ audience }, expected) => audience !== expected.audience && "is for another audience",
  ({ bizSeq }, { check }) => bizSeq !== check.bizSeq && "is to another check",
  ({ nonce }, { check }) => !sameBytes(nonce, check.nonce) && "repeats another nonce",
  ({ claimType }, { check }) => claimType !== claimTypeOf(check.claim) && "is of another claim type",
  ({ elementsDigest }, { check }) => !sameBytes(elementsDigest, digestElements(check)) && "is about other elements",
  ({ level }) => (level < 1 || level > LEVEL_MAX) && "has no level",
  checkTime,
];

/** Reads the source's word (SZ-11.2). Throws SourceError REFUSED for an assertion that is not exactly that. */
export function readAssertion(signed: SignedAssertion | undefined, expected: Expectation): Answer {
  if (signed === undefined) throw refuse("is missing");
  const key = expected.keys.get(signed.keyId);
  if (key === undefined) throw refuse("is by an unregistered key");
  const bytes = Buffer.concat([DOMAIN, signed.assertion]);
  const fits =
    signed.signature.length === SIGNATURE_BYTES &&
    verify("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }, signed.signature);
  if (!fits) throw refuse("is not signed by the source");
  const assertion = parse(signed.assertion);
  for (const check of checks) {
    const problem = check(assertion, expected);
    if (problem !== undefined && problem !== false) throw refuse(problem);
  }
  const verdict = verdicts[assertion.verdict];
  if (verdict === undefined || assertion.checkTime === undefined) throw refuse("has no verdict");
  const level = Math.min(assertion.level, expected.level);
  const answer = { verdict, level, checkedAtMs: timestampMs(assertion.checkTime) };
  if (expected.check.claim.type !== "PERSON_FACE") return answer;
  return judgeSimilarity({ ...answer, similarity: assertion.similarity }, expected.check);
}

/** What binds the elements to the assertion (fujie.source.v1.Assertion.elements_digest). */
export function digestElements({ nonce, claim }: Check): Buffer {
  const { citizenId, personName, uscc, organisationName, ...more } = writeElements(claim);
  const hash = createHash("sha256").update(nonce).update([citizenId, personName, uscc, organisationName].join("\0"));
  if ((claimTypeOf(claim) ?? 0) < ClaimType.PERSON_CARRIER) return hash.digest();
  const { phone, bankCard, faceImage, documentExpireDate, wardCitizenId, wardName } = more;
  hash.update(`\0${phone}\0${bankCard}\0`);
  if (faceImage.length > 0) hash.update(createHash("sha256").update(faceImage).digest());
  return hash.update(`\0${documentExpireDate}\0${wardCitizenId}\0${wardName}`).digest();
}

function checkTime({ checkTime: time }: Assertion, { check, nowMs, live }: Expectation): string | undefined {
  if (time === undefined) return "has no time";
  const checkedAtMs = timestampMs(time);
  if (!isPlausibleCheckTime(checkedAtMs, check.askedAtMs, nowMs)) return "has an impossible time";
  return live && checkedAtMs < nowMs - ANSWER_AGE_MAX_MS ? "is stale" : undefined;
}

function parse(bytes: Uint8Array): Assertion {
  try {
    return fromBinary(AssertionSchema, bytes);
  } catch {
    throw refuse("cannot be parsed");
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function refuse(problem: string): SourceError {
  return new SourceError("REFUSED", `the assertion ${problem}`);
}
