import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { html } from "./escape.ts";
import { script } from "./page-assets.ts";
import { failureText, renderConsent, renderFailure, renderSignIn } from "./pages.ts";
import { preferredLanguage } from "./texts.ts";

test("no value breaks out of its place in a page", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("<", ">", '"', "'", "&", "`", "=", "a", "/", " ") }), (value) => {
      const view = { uid: "u", clientName: value, csrfToken: value, challenge: Buffer.from(value) };
      const empty = { uid: "u", clientName: "", csrfToken: "", challenge: Buffer.alloc(0) };
      const tags = (page: string) => page.match(/<[^>]*>/g)?.map((tag) => tag.replace(/"[^"]*"/g, '""'));
      assert.deepEqual(tags(renderSignIn("en", view)), tags(renderSignIn("en", empty)));
      const consent = (clientName: string) => renderConsent("en", { ...view, clientName, scopes: [clientName] });
      assert.deepEqual(tags(consent(value)), tags(consent("")));
    }),
    { numRuns: 50 },
  );
});

test("lists are joined, and what is HTML already is not escaped again", () => {
  const items = ["<a>", "b"].map((item) => html`<li>${item}</li>`);
  assert.equal(html`<ul>${items}</ul>`.html, "<ul><li>&lt;a&gt;</li><li>b</li></ul>");
});

test("Chinese comes first; English for those who prefer it", () => {
  assert.equal(preferredLanguage(undefined), "zh-CN");
  assert.equal(preferredLanguage("fr-FR, de;q=0.9"), "zh-CN");
  assert.equal(preferredLanguage("en-GB,en;q=0.9,zh-CN;q=0.8"), "en");
  assert.equal(preferredLanguage("zh-CN,zh;q=0.9,en;q=0.8"), "zh-CN");
  assert.equal(preferredLanguage("fr, en;q=0"), "zh-CN");
});

test("a failure is told in the reader's language with its trace, a throttled one with the minutes to wait", () => {
  const failure = { reason: "SIGN_IN_THROTTLED", traceId: "t1", retryDelayMs: 61_000 };
  assert.match(failureText("en", failure), /2 min/);
  assert.match(failureText("zh-CN", failure), /2 分钟/);
  assert.match(renderFailure("en", { reason: "access_denied", traceId: "t1" }), /access_denied.*t1/);
});

test("the page's script is valid JavaScript", () => {
  assert.doesNotThrow(() => new Function(script));
});
