import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import {
  compareNames,
  foldName,
  nameVariants,
  normalisePersonName,
  PERSON_NAME_MAX,
  parsePersonName,
} from "./person-name.ts";
import { toPublicCharacters } from "./private-use.ts";

const LONGEST = "买买提阿不都热合曼·吐尔逊江艾合买提玉素甫买合木提";
const names = fc
  .array(
    fc.constantFrom(..."张三阿娜䶮𠮷𬱖〇金Aaéß\u0301İΣ", "\uF90A", "\u{2F81A}", " ", "·", "．", "\u3000", "Ａ", "’"),
    {
      maxLength: 12,
    },
  )
  .map((characters) => characters.join(""));

function reasonFor(raw: string): string {
  const parsed = parsePersonName(raw);
  return parsed.ok ? "none" : parsed.reason;
}

test("every dot becomes U+00B7 and the raw name is kept", () => {
  for (const dot of ["\u00B7", "\u2022", "\u2027", "\u30FB", "\uFF65", "\uFF0E", ".", " · ", "\u0387"]) {
    const raw = `阿娜尔${dot}买买提`;
    assert.deepEqual(parsePersonName(raw), {
      ok: true,
      value: { raw, name: "阿娜尔\u00B7买买提", key: "阿娜尔\u00B7买买提" },
    });
  }
});

test("long, rare, foreign and one-character names are accepted", () => {
  assert.equal([...LONGEST].length, 25);
  for (const name of [LONGEST, "𠮷", "刘䶮", "王𬱖", "李〇", "Jean-Luc O’Brien", "Nguyễn Thị Hoa", "\u{323B0}一"]) {
    assert.equal(reasonFor(name), "none", name);
  }
  assert.equal(reasonFor("𠮷".repeat(PERSON_NAME_MAX)), "none", "code points count, not UTF-16 units");
});

test("spaces around and between Han characters do not make another name", () => {
  assert.equal(foldName("　张　三 "), foldName("张三"));
  assert.notEqual(foldName("Li San"), foldName("LiSan"));
  assert.equal(foldName("ＬＩ  san"), foldName("li San"));
});

test("unsafe characters and misplaced separators are refused with their reason", () => {
  const expected: [string, string][] = [
    ["", "empty"],
    ["　 ", "empty"],
    ["张".repeat(PERSON_NAME_MAX + 1), "too-long"],
    ["张".repeat(1_000_000), "too-long"],
    ["·张三", "separator"],
    ["张三．", "separator"],
    ["阿娜··买", "separator"],
    ["阿娜· •买", "separator"],
    ["张\u202E三", "bidi-control"],
    ["张\u200F三", "bidi-control"],
    ["张\u200B三", "invisible-character"],
    ["张\uFE00三", "invisible-character"],
    ["张\u3164三", "invisible-character"],
    ["张\uFEFF三", "invisible-character"],
    ["张\uE863", "private-use"],
    ["张\u{F0000}", "private-use"],
    ["张\uD842", "lone-surrogate"],
    ["张\u0000三", "control-character"],
    ["张\n三", "control-character"],
    ["张\u2028三", "control-character"],
    ["张3", "characters"],
    ["张<b>", "characters"],
    ["张⼀", "characters"],
    ["张\u{2FFFE}", "characters"],
    ["张😀", "characters"],
    ["-", "characters"],
    ["阿娜\u2219买", "characters"],
    ["阿娜\u22C5买", "characters"],
    ["阿娜\uA78F买", "characters"],
    ["阿娜\u318D买", "characters"],
    ["阿娜\u1427买", "characters"],
  ];
  for (const [raw, reason] of expected) assert.equal(reasonFor(raw), reason, JSON.stringify(raw));
});

test("a base's private-use and compatibility characters give a possible variant, never the same and never different", () => {
  assert.equal(compareNames("刘䶮", "刘䶮"), "same");
  assert.equal(compareNames("刘䶮", "刘\uE863"), "possible-variant");
  assert.equal(compareNames("刘\uE863", "刘\uE863"), "possible-variant");
  assert.equal(compareNames("金三", "\uF90A三"), "possible-variant");
  assert.equal(compareNames("王\u{F0001}明", "王喆明"), "possible-variant", "no table maps this code point");
});

test("names that differ elsewhere are different, private use or not", () => {
  assert.equal(compareNames("刘䶮", "王\uE863"), "different");
  assert.equal(compareNames("刘䶮", "刘\uE862"), "different", "mapped to another character");
  assert.equal(compareNames("\u{F0001}\u{F0002}", "张三"), "different", "nothing known in common");
  assert.equal(compareNames("张三", "张三三"), "different");
  for (const unsafe of ["", " ", "张\u200B三", "张\uD842"]) assert.equal(compareNames(unsafe, unsafe), "different");
});

test("private-use code points map to what GB 18030 decodes to, wherever the decoder knows the public character", () => {
  const decoder = new TextDecoder("gb18030");
  const trailBytes = Array.from({ length: 0xa1 - 0x50 }, (_, i) => 0x50 + i).filter((byte) => byte !== 0x7f);
  let publicCount = 0;
  for (const [i, byte] of trailBytes.entries()) {
    const decoded = decoder.decode(Uint8Array.of(0xfe, byte));
    const mapped = toPublicCharacters(String.fromCharCode(0xe815 + i));
    assert.doesNotMatch(mapped, /\p{Co}/u);
    if (/\p{Co}/u.test(decoded)) continue;
    assert.equal(mapped, decoded);
    publicCount++;
  }
  assert.ok(publicCount >= 66);
});

test("normalising and folding are idempotent, comparing is symmetric and agrees with the keys", () => {
  fc.assert(
    fc.property(fc.oneof(names, anyText), fc.oneof(names, anyText), (a, b) => {
      assert.equal(normalisePersonName(normalisePersonName(a)), normalisePersonName(a));
      assert.equal(foldName(foldName(a)), foldName(a));
      assert.equal(compareNames(a, b), compareNames(b, a));
      if (compareNames(a, b) === "same") assert.equal(foldName(a), foldName(b));
    }),
    { numRuns: 500 },
  );
});

test("every accepted name is the same as itself, as its normal form and as its key, and parses again to itself", () => {
  fc.assert(
    fc.property(names, (raw) => {
      const parsed = parsePersonName(raw);
      if (!parsed.ok) return;
      assert.equal(compareNames(raw, parsed.value.name), "same");
      assert.equal(compareNames(raw, parsed.value.key), "same");
      const again = parsePersonName(parsed.value.name);
      assert.equal(again.ok && again.value.name, parsed.value.name);
    }),
    { numRuns: 500 },
  );
});

test("a name's variants are what an old base may hold instead: at most three, each for a person to judge", () => {
  assert.deepEqual(nameVariants("刘䶮"), ["刘\uE863"]);
  assert.deepEqual(nameVariants("张三"), []);
  assert.deepEqual(nameVariants("\uF90A䶮"), ["\uF90A\uE863", "金䶮", "金\uE863"]);
  fc.assert(
    fc.property(names, (raw) => {
      const variants = nameVariants(raw);
      assert.ok(variants.length <= 3);
      for (const variant of variants) assert.equal(compareNames(raw, variant), "possible-variant");
    }),
    { numRuns: 300 },
  );
});
