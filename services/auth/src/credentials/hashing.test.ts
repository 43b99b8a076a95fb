import { strict as assert } from "node:assert";
import { test } from "node:test";
import { DomainError } from "@fujie/kit/errors";
import { createPasswordHasher } from "./hashing.ts";

test("a password fits its own argon2id hash of 19 MiB and two passes, and no other", async () => {
  const hasher = await createPasswordHasher();
  const phc = await hasher.hash("correct horse battery");
  assert.match(phc, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  assert.equal(await hasher.matches(phc, "correct horse battery"), true);
  assert.equal(await hasher.matches(phc, "correct horse batterz"), false);
});

test("without a hash the answer is no, after the same work", async () => {
  const hasher = await createPasswordHasher();
  assert.equal(await hasher.matches(undefined, "correct horse battery"), false);
});

test("beyond the running and the waiting ones, hashing is refused at once with OVERLOADED and a retry delay", async () => {
  const hasher = await createPasswordHasher({ runningMax: 1, waitingMax: 1 });
  const work = [1, 2, 3, 4].map(() => hasher.hash("correct horse battery"));
  const outcomes = await Promise.allSettled(work);
  const refused = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  assert.equal(refused.length, 2);
  for (const reason of refused) {
    assert.ok(reason instanceof DomainError);
    assert.equal(reason.reason, "OVERLOADED");
    assert.ok((reason.retryDelayMs ?? 0) > 0);
  }
  // The places were given back.
  assert.equal(await hasher.matches(await hasher.hash("again"), "again"), true);
});
