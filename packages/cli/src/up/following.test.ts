import { strict as assert } from "node:assert";
import { test } from "node:test";
import { isFollowing } from "./following.ts";

const metrics = (stale: number, lag?: number) =>
  [
    "# HELP fujie_revocations_stale 1 while privileged calls are refused for want of news",
    "# TYPE fujie_revocations_stale gauge",
    `fujie_revocations_stale ${stale}`,
    ...(lag === undefined ? [] : [`fujie_feed_lag{topic="registry.changes"} ${lag}`]),
  ].join("\n");

test("a service follows when revocations are known and no followed feed lags", () => {
  assert.equal(isFollowing(metrics(0)), true);
  assert.equal(isFollowing(metrics(0, 1_900)), true);
  assert.equal(isFollowing(metrics(1)), false);
  assert.equal(isFollowing(metrics(0, 1_760_000_000_000)), false);
  assert.equal(isFollowing(""), false, "no answer is no yes");
});
