import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatCheckpoint, parseCheckpoint } from "./checkpoint.ts";
import { FormatError } from "./errors.ts";
import { emptyRoot } from "./merkle.ts";

// The example of c2sp.org/tlog-checkpoint.
const published = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

test("tlog-checkpoint the published example reads and writes unchanged", () => {
  const checkpoint = parseCheckpoint(published);
  assert.equal(checkpoint.origin, "example.com/behind-the-sofa");
  assert.equal(checkpoint.size, 20_852_163);
  assert.equal(Buffer.from(checkpoint.root).toString("hex").slice(0, 8), "0ac5186a");
  assert.deepEqual(checkpoint.extensions, []);
  assert.equal(formatCheckpoint(checkpoint), published);
});

test("checkpoints round-trip with their extension lines", () => {
  const line = fc.string({ minLength: 1, unit: "grapheme" }).filter((each) => !/\p{Cc}/u.test(each));
  const size = fc
    .maxSafeNat()
    .map((value) => value + 1)
    .filter(Number.isSafeInteger);
  const root = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(line, size, root, fc.array(line, { maxLength: 3 }), (origin, treeSize, hash, extensions) => {
      const checkpoint = { origin, size: treeSize, root: hash, extensions };
      assert.deepEqual(parseCheckpoint(formatCheckpoint(checkpoint)), checkpoint);
    }),
  );
  const empty = { origin: "log.example", size: 0, root: emptyRoot(), extensions: [] };
  assert.deepEqual(parseCheckpoint(formatCheckpoint(empty)), empty);
});

test("every other spelling of a checkpoint is refused", () => {
  const refused = [
    "",
    "\n",
    published.slice(0, -1),
    published.slice(1 + published.indexOf("\n")),
    `\n${published}`,
    `${published}\n`,
    published.replace("20852163", "020852163"),
    published.replace("20852163", "+20852163"),
    published.replace("20852163", "20852163 "),
    published.replace("20852163", "2e7"),
    published.replace("20852163", ""),
    published.replace("20852163", "-1"),
    published.replace("20852163", "9007199254740992"),
    published.replace("20852163", "0"),
    published.replace("q2I=", "q2I"),
    published.replace("q2I=", "q2J="),
    published.replace("q2I=", "q2IA"),
    published.replace("/X", "_X"),
    published.replace("\n2", "\r\n2"),
    `${published}extension\n\nafter a blank\n`,
    published.replace("example", "exam\0ple"),
    published.replace("example", "\ud800"),
  ];
  for (const bad of refused) assert.throws(() => parseCheckpoint(bad), FormatError, JSON.stringify(bad));
  const checkpoint = parseCheckpoint(published);
  assert.throws(() => formatCheckpoint({ ...checkpoint, origin: "two\nlines" }), FormatError);
  assert.throws(() => formatCheckpoint({ ...checkpoint, extensions: [""] }), FormatError);
  assert.throws(() => formatCheckpoint({ ...checkpoint, size: 1.5 }), FormatError);
});
