import { verify } from "node:crypto";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ClaimType, Verdict } from "@fujie/api/fujie/source/v1/source";
import type { Bench, Given } from "../bench.ts";
import { digestElements, EXTENDED_FROM } from "../claim-types.ts";
import { fail, failIfAny, notApplicable } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

const DOMAIN = Buffer.from("fujie-source-assertion-v1\n");
const SIGNATURE_BYTES = 64;
/** How far a source's clock may differ from the platform's. */
const CLOCK_SKEW_MS = 60_000;
const CLOCK_SKEW_WARN_MS = 5_000;

/** Gives what is wrong with one assertion, or nothing. */
type Look = (given: Given, bench: Bench) => string | undefined | false;

export const assertionCases: readonly SuiteCase[] = [
  assertionCase(
    "signature",
    "Every answer is signed by a registered key, ES256 as r ‖ s",
    "每个答复由登记的密钥签名（ES256，r ‖ s）",
    ({ signed }, { options }) => {
      const key = options.assertionKeys.get(signed.keyId);
      if (key === undefined) return "key_id is not registered";
      if (signed.signature.length !== SIGNATURE_BYTES) return `the signature has ${signed.signature.length} bytes`;
      const bytes = Buffer.concat([DOMAIN, signed.assertion]);
      return (
        !verify("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }, signed.signature) && "the signature does not fit"
      );
    },
  ),
  assertionCase(
    "source-id",
    "The assertion is the source's own",
    "断言属于该信任源",
    ({ assertion }, { options }) => assertion.sourceId !== options.sourceId && "source_id is another",
  ),
  assertionCase(
    "biz-seq",
    "The assertion repeats biz_seq",
    "断言重复 biz_seq",
    ({ assertion, request }) => assertion.bizSeq !== request.bizSeq && "biz_seq is another",
  ),
  assertionCase(
    "audience",
    "The assertion repeats the audience",
    "断言重复受众",
    ({ assertion, request }) => assertion.audience !== request.audience && "audience is another",
  ),
  assertionCase(
    "nonce",
    "The assertion repeats the nonce",
    "断言重复随机数",
    ({ assertion, request }) => !Buffer.from(assertion.nonce).equals(request.nonce) && "nonce is another",
  ),
  assertionCase(
    "claim-type",
    "The assertion repeats the claim type",
    "断言重复核验类型",
    ({ assertion, request }) => assertion.claimType !== request.claimType && "claim_type is another",
  ),
  {
    id: "assertion.elements-digest",
    title: { en: "The digest binds the first four elements", zh: "摘要绑定前四个要素" },
    requirement: "SZ-13.2",
    run: (bench) => lookAtDigests(bench, (type) => type < EXTENDED_FROM),
  },
  {
    id: "assertion.elements-digest-extended",
    title: { en: "The digest of the later claim types binds every element", zh: "扩展类型的摘要绑定全部要素" },
    requirement: "SZ-13.2",
    run: (bench) => lookAtDigests(bench, (type) => type >= EXTENDED_FROM),
  },
  {
    id: "assertion.level",
    title: { en: "The level is at least 1 and at most the one described", zh: "级别不低于 1，不高于所描述" },
    requirement: "SZ-11.2",
    run: async (bench) => {
      const described = await bench.described();
      return look(bench, ({ assertion: { level } }) => (level < 1 || level > described.level) && `level is ${level}`);
    },
  },
  {
    id: "assertion.time",
    title: { en: "The time of the check is the present", zh: "核验时间为当前时间" },
    requirement: "SZ-13.2",
    run: async (bench) => {
      await look(bench, ({ assertion: { checkTime }, askedAtMs, answeredAtMs }) => {
        if (checkTime === undefined) return "check_time is missing";
        const atMs = timestampMs(checkTime);
        return (atMs < askedAtMs - CLOCK_SKEW_MS || atMs > answeredAtMs + CLOCK_SKEW_MS) && "check_time is not now";
      });
      const skews = (await bench.given()).map(({ assertion: { checkTime }, askedAtMs, answeredAtMs }) => {
        const atMs = checkTime === undefined ? askedAtMs : timestampMs(checkTime);
        return Math.max(askedAtMs - atMs, atMs - answeredAtMs, 0);
      });
      const skewMs = Math.round(Math.max(0, ...skews));
      return skewMs > CLOCK_SKEW_WARN_MS ? `WARNING: the source's clock is off by ${skewMs} ms` : undefined;
    },
  },
  assertionCase(
    "similarity",
    "Only faces have a similarity, in thousandths",
    "仅人脸核验给出相似度（千分比）",
    ({ assertion: { similarity, claimType, verdict } }) => {
      if (similarity > 1_000) return "similarity is above 1000";
      if (claimType !== ClaimType.PERSON_FACE) return similarity !== 0 && "similarity is given for another type";
      return verdict === Verdict.MATCH && similarity === 0 && "a match has no similarity";
    },
  ),
];

function assertionCase(name: string, en: string, zh: string, problemOf: Look): SuiteCase {
  return { id: `assertion.${name}`, title: { en, zh }, requirement: "SZ-13.2", run: (bench) => look(bench, problemOf) };
}

async function lookAtDigests(bench: Bench, concerns: (type: ClaimType) => boolean): Promise<undefined> {
  const { claimTypes: described } = await bench.described();
  if (!described.some(concerns)) return notApplicable("the source describes no claim type of this kind");
  return look(
    bench,
    ({ assertion, elements, request }) =>
      !digestElements(request.nonce, request.claimType, elements).equals(assertion.elementsDigest) &&
      "elements_digest is another",
    ({ facts }) => concerns(facts.type),
  );
}

async function look(
  bench: Bench,
  problemOf: Look,
  concerns: (given: Given) => boolean = () => true,
): Promise<undefined> {
  const given = (await bench.given()).filter(concerns);
  if (given.length === 0) return fail("there is no assertion to look at");
  failIfAny(
    given.flatMap((one) => {
      const problem = problemOf(one, bench);
      return problem === undefined || problem === false ? [] : [`${one.facts.name}, ${one.expected}: ${problem}`];
    }),
  );
  return undefined;
}
