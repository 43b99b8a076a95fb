import { toBinary } from "@bufbuild/protobuf";
import { type CheckRequest, CheckRequestSchema, ClaimType } from "@fujie/api/fujie/source/v1/source";
import { citizenIdCheckCharacter } from "@fujie/identity";
import type { Bench } from "../bench.ts";
import {
  type ClaimElements,
  type ClaimTypeFacts,
  claimTypes,
  type ElementName,
  type TextElement,
} from "../claim-types.ts";
import { fail, failIfAny, notApplicable } from "../outcome.ts";
import type { SuiteCase } from "./case.ts";

/** A request that must be refused, and what is wrong with it. */
interface Malformed {
  readonly what: string;
  readonly request: CheckRequest | Uint8Array;
}

/** Well-formed elements that a claim type does not have. */
const SURPLUS: Readonly<Record<ElementName, string | Uint8Array<ArrayBuffer>>> = {
  citizenId: "440399199003070014",
  personName: "林知行",
  uscc: "91440399PDY9900179",
  organisationName: "深圳微光示例有限公司",
  phone: "13800138000",
  bankCard: "6222020000000000000",
  faceImage: new Uint8Array([0xff, 0xd8, 0xff, 0xd9]),
  documentExpireDate: "2040-01-01",
  wardCitizenId: "440399199003070014",
  wardName: "林知行",
};
const OUTSIDE_THE_CONTRACT = 99;
const RESERVED = 8;

export const malformedCases: readonly SuiteCase[] = [
  textCase(
    "citizen-id",
    ["citizenId", "wardCitizenId"],
    "a citizen id with a wrong check character, of another length, or with no such birth date",
    "拒绝校验码、长度或出生日期错误的公民身份号码",
    (good) => [
      ["wrong check character", otherLast(good, "0123456789X")],
      ["17 characters", good.slice(1)],
      ["lower-case x or a letter", `${good.slice(0, 17)}x`],
      ["no such day", withCheckCharacter(`${good.slice(0, 10)}1332${good.slice(14, 17)}`)],
    ],
  ),
  textCase(
    "uscc",
    ["uscc"],
    "a unified social credit code with a wrong check character, of another length, or outside the alphabet",
    "拒绝校验码、长度或字符错误的统一社会信用代码",
    (good) => [
      ["wrong check character", otherLast(good, "0123456789ABCDEFGHJKLMNPQRTUWXY")],
      ["17 characters", good.slice(0, 17)],
      ["a letter I", `${good.slice(0, 16)}I${good.slice(17)}`],
    ],
  ),
  textCase(
    "bank-card",
    ["bankCard"],
    "a bank card number with a wrong Luhn digit or of another length",
    "拒绝 Luhn 校验位或长度错误的银行卡号",
    (good) => [
      ["wrong check digit", otherLast(good, "0123456789")],
      ["12 digits", good.slice(0, 12)],
    ],
  ),
  textCase(
    "phone",
    ["phone"],
    "a phone number that is not eleven digits from 13 to 19",
    "拒绝格式错误的手机号",
    (good) => [
      ["10 digits", good.slice(1)],
      ["a wrong prefix", `12${good.slice(2)}`],
    ],
  ),
  textCase("document-date", ["documentExpireDate"], "a date that does not exist", "拒绝不存在的日期", () => [
    ["30 February", "2030-02-30"],
    ["no date", "2030-2-3"],
  ]),
  textCase(
    "name",
    ["personName", "organisationName", "wardName"],
    "a name with control characters",
    "拒绝含控制字符的名称",
    (good) => [
      ["a control character", `${good}\u0007`],
      ["a line separator", `${good}\u2028`],
    ],
  ),
  {
    id: "malformed.face-image",
    title: { en: "Refuses a face image that is neither JPEG nor PNG", zh: "拒绝既非 JPEG 也非 PNG 的人脸图像" },
    requirement: "NI-9",
    run: (bench) =>
      refusesAll(bench, ({ elements }, match) =>
        elements.includes("faceImage") ? [["no image", { ...match, faceImage: new Uint8Array(64).fill(1) }]] : [],
      ),
  },
  {
    id: "malformed.missing-element",
    title: { en: "Refuses a claim that lacks an element of its type", zh: "拒绝缺少要素的请求" },
    requirement: "NI-9",
    run: (bench) =>
      refusesAll(bench, ({ elements }, match) =>
        elements.map((name) => [
          `without ${name}`,
          Object.fromEntries(Object.entries(match).filter(([key]) => key !== name)),
        ]),
      ),
  },
  {
    id: "malformed.surplus-element",
    title: { en: "Refuses a claim with an element that its type does not have", zh: "拒绝含多余要素的请求" },
    requirement: "NI-9",
    run: async (bench) => {
      const [first] = await bench.testable();
      return refusesAll(bench, (facts, match) => {
        const foreign = elementNames.filter((name) => !facts.elements.includes(name));
        // All of them with the first type; one of them with each other type.
        const tried = facts === first?.[0] ? foreign : foreign.slice(0, 1);
        return tried.map((name) => [`with ${name}`, { ...match, [name]: SURPLUS[name] }]);
      });
    },
  },
  {
    id: "malformed.no-elements",
    title: { en: "Refuses a check without elements", zh: "拒绝没有要素的请求" },
    requirement: "NI-9",
    run: async (bench) => {
      const { elements: _, ...request } = await bench.newCheck();
      return refuses(bench, [{ what: "no elements", request }]);
    },
  },
  {
    id: "malformed.claim-type",
    title: {
      en: "Refuses claim types that it does not describe or that do not exist",
      zh: "拒绝未描述或不存在的核验类型",
    },
    requirement: "SZ-9",
    run: async (bench) => {
      const { claimTypes: described } = await bench.described();
      const request = await bench.newCheck();
      const other = claimTypes.find(({ type }) => !described.includes(type));
      return refuses(bench, [
        { what: "unspecified", request: { ...request, claimType: ClaimType.UNSPECIFIED, bizSeq: bench.newBizSeq() } },
        ...[RESERVED, OUTSIDE_THE_CONTRACT].map((number) => ({
          what: `number ${number}`,
          request: withClaimType({ ...request, bizSeq: bench.newBizSeq() }, number),
        })),
        ...(other === undefined
          ? []
          : [
              {
                what: `${other.name}, which is not described`,
                request: { ...request, claimType: other.type, bizSeq: bench.newBizSeq() },
              },
            ]),
      ]);
    },
  },
  fieldCase(
    "nonce",
    "a nonce that is empty, of 15 bytes or of 65 bytes",
    "拒绝空的、过短或过长的随机数",
    ({ options }) => [
      ["empty", { nonce: new Uint8Array() }],
      ["15 bytes", { nonce: options.randomBytes(15) }],
      ["65 bytes", { nonce: options.randomBytes(65) }],
    ],
  ),
  fieldCase(
    "biz-seq",
    "a biz_seq that is not 32 lower-case hexadecimal characters",
    "拒绝格式错误的 biz_seq",
    (bench) => [
      ["empty", { bizSeq: "" }],
      ["31 characters", { bizSeq: bench.newBizSeq().slice(1) }],
      ["33 characters", { bizSeq: `${bench.newBizSeq()}0` }],
      ["upper case", { bizSeq: `${bench.newBizSeq().slice(1)}A` }],
    ],
  ),
  fieldCase("audience", "a check without audience, or with one that is too long", "拒绝受众为空或过长的请求", () => [
    ["empty", { audience: "" }],
    ["129 characters", { audience: "a".repeat(129) }],
  ]),
  fieldCase("purpose", "a check without purpose, or with one that is too long", "拒绝用途为空或过长的请求", () => [
    ["empty", { purpose: "" }],
    ["65 characters", { purpose: "a".repeat(65) }],
  ]),
];

const elementNames: readonly ElementName[] = [
  "citizenId",
  "personName",
  "uscc",
  "organisationName",
  "phone",
  "bankCard",
  "faceImage",
  "documentExpireDate",
  "wardCitizenId",
  "wardName",
];

type Change = readonly [what: string, elements: ClaimElements];

/** A case about one element: each wrong text in each described type that has it. */
function textCase(
  name: string,
  about: readonly TextElement[],
  en: string,
  zh: string,
  spoil: (good: string) => readonly (readonly [string, string])[],
): SuiteCase {
  return {
    id: `malformed.${name}`,
    title: { en: `Refuses ${en}`, zh },
    requirement: "NI-9",
    run: (bench) =>
      refusesAll(bench, ({ elements }, match) =>
        about
          .filter((element) => elements.includes(element))
          .flatMap((element) =>
            spoil(match[element] ?? "").map(
              ([what, wrong]): Change => [`${element}, ${what}`, { ...match, [element]: wrong }],
            ),
          ),
      ),
  };
}

function fieldCase(
  name: string,
  en: string,
  zh: string,
  changes: (
    bench: Bench,
  ) => readonly (readonly [string, Partial<Pick<CheckRequest, "bizSeq" | "audience" | "purpose" | "nonce">>])[],
): SuiteCase {
  return {
    id: `malformed.${name}`,
    title: { en: `Refuses ${en}`, zh },
    requirement: "SZ-9",
    run: async (bench) =>
      refuses(
        bench,
        await Promise.all(
          changes(bench).map(async ([what, change]) => ({ what, request: await bench.newCheck(change) })),
        ),
      ),
  };
}

async function refusesAll(
  bench: Bench,
  changesOf: (facts: ClaimTypeFacts, match: ClaimElements) => readonly Change[],
): Promise<undefined> {
  const wrong = (await bench.testable()).flatMap(([facts, { MATCH }]) =>
    changesOf(facts, MATCH).map(([what, elements]) => ({
      what: `${facts.name}: ${what}`,
      request: bench.checkOf(facts.type, elements),
    })),
  );
  if (wrong.length === 0) return notApplicable("no described claim type has such an element");
  return refuses(bench, wrong);
}

async function refuses(bench: Bench, wrong: readonly Malformed[]): Promise<undefined> {
  const problems: string[] = [];
  for (const { what, request } of wrong) {
    const { code } = await bench.check(request);
    if (code === "OK") problems.push(`${what}: answered with a verdict`);
    else if (code !== "INVALID_ARGUMENT") problems.push(`${what}: ended with ${code}`);
  }
  failIfAny(problems);
  return wrong.length === 0 ? fail("nothing was tried") : undefined;
}

/** The same text with another last character of the alphabet. */
function otherLast(text: string, alphabet: string): string {
  const place = alphabet.indexOf(text.slice(-1));
  return text.slice(0, -1) + alphabet.charAt((place + 1) % alphabet.length);
}

function withClaimType(request: CheckRequest, number: number): Uint8Array {
  // The last of a field's values counts: field 2, a varint.
  return Buffer.concat([toBinary(CheckRequestSchema, request), Buffer.of(0x10, number)]);
}

function withCheckCharacter(first17: string): string {
  return first17 + citizenIdCheckCharacter(first17);
}
