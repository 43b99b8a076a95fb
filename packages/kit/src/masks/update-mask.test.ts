import { strict as assert } from "node:assert";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { DomainError } from "../errors/index.ts";
import { readUpdateMask } from "./index.ts";

const mutable = ["name", "provider_name", "scopes", "rate_limit"] as const;
const names: readonly string[] = mutable;
const read = (paths: readonly string[]) => readUpdateMask(create(FieldMaskSchema, { paths: [...paths] }), mutable);

function violationsOf(run: () => unknown): readonly { field: string; description: string }[] {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof DomainError);
    assert.equal(error.reason, "MASK_INVALID");
    return error.violations;
  }
  return assert.fail("the mask was taken");
}

test("a mask of distinct mutable fields gives exactly these, in whatever order", () => {
  const masks = fc.shuffledSubarray([...names], { minLength: 1 });
  fc.assert(fc.property(masks, (paths) => assert.deepEqual([...read(paths)].toSorted(), paths.toSorted())));
});

test("one bad path anywhere spoils the mask, and the violation names update_mask", () => {
  const good = fc.shuffledSubarray([...names]);
  const isBad = (path: string) => !names.includes(path);
  const bad = fc.oneof(
    fc.constantFrom(
      "*",
      "",
      "application_id",
      "name.",
      ".name",
      "scopes.0",
      "name,scopes",
      "Name",
      "providerName",
      "__proto__",
    ),
    fc.string().filter(isBad),
  );
  fc.assert(
    fc.property(good, bad, fc.nat(mutable.length), (paths, path, at) => {
      const violations = violationsOf(() => read(paths.toSpliced(at, 0, path)));
      assert.deepEqual(new Set(violations.map(({ field }) => field)), new Set(["update_mask"]));
    }),
  );
});

test("a repeated path is refused, and so is a mask that is absent or empty", () => {
  const masks = fc.shuffledSubarray([...names], { minLength: 1 });
  fc.assert(
    fc.property(masks, fc.nat(), fc.nat(), (paths, which, at) => {
      const repeated = paths[which % paths.length] ?? "";
      violationsOf(() => read(paths.toSpliced(at % (paths.length + 1), 0, repeated)));
    }),
  );
  violationsOf(() => read([]));
  violationsOf(() => readUpdateMask(undefined, mutable));
});

test("a mask of thousands of bad paths is refused in few words, none of them the caller's", () => {
  const violations = violationsOf(() => read(Array.from({ length: 5_000 }, () => "somebody's secret")));
  assert.ok(violations.length <= 3);
  assert.ok(!JSON.stringify(violations).includes("secret"));
});
