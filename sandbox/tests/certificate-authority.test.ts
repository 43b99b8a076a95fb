import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";
import type { CaId } from "../src/client.ts";
import { NAMED_PEOPLE } from "../src/people/index.ts";
import { type RunningSandbox, runSandbox } from "./running-sandbox.ts";

const CA_IDS: readonly CaId[] = ["ca-ecdsa", "ca-sm2"];
const { citizenId, name } = NAMED_PEOPLE.match.person;
const subject = { kind: "person", name, identifier: citizenId } as const;

let running: RunningSandbox;
before(async () => {
  running = await runSandbox();
});
after(() => running[Symbol.asyncDispose]());
beforeEach(async () => {
  for (const caId of CA_IDS) await running.client.reset(caId);
});

type Profile = { id: string; revocation: { ocspUrl: string; crlUrls: string[] } };
const ask = (path: string, init?: RequestInit) => fetch(`${running.sandbox.httpUrl}${path}`, init);

test("both CAs issue and revoke, and their lists grow by it", async () => {
  for (const caId of CA_IDS) {
    const before = await (await ask(`/ca/${caId}/crl`)).bytes();
    const issued = await running.client.issueCertificate(caId, subject);
    assert.ok(new X509Certificate(issued.certPem).subject.includes(name));
    await running.client.revoke(caId, issued.serial, "keyCompromise");
    const after = await (await ask(`/ca/${caId}/crl`)).bytes();
    assert.ok(after.length > before.length);
    await assert.rejects(running.client.revoke(caId, "00"), { status: 404 });
  }
});

test("SZ-13.1 a profile names the CA and the URLs under which this sandbox serves its revocation data", async () => {
  for (const caId of CA_IDS) {
    const profile = (await (await ask(`/ca/${caId}/profile.json`)).json()) as Profile;
    const base = `${running.sandbox.httpUrl}/ca/${caId}`;
    assert.equal(profile.id, caId);
    assert.equal(profile.revocation.ocspUrl, `${base}/ocsp`);
    assert.deepEqual(profile.revocation.crlUrls, [`${base}/crl`, `${base}/root-crl`]);
    assert.deepEqual(JSON.parse(await readFile(`${running.dir}/${caId}.json`, "utf8")), profile);
    for (const crlUrl of profile.revocation.crlUrls) assert.equal((await fetch(crlUrl)).status, 200);
  }
});

test("revocation data is counted and free; conveniences are not counted", async () => {
  await ask("/ca/ca-sm2/crl");
  await ask("/ca/ca-sm2/ocsp", { method: "POST", body: new Uint8Array([0x30, 0x00]) });
  await ask("/ca/ca-sm2/profile.json");
  assert.deepEqual(await running.client.counters("ca-sm2"), {
    received: 2,
    billed: 0,
    byResult: { crl: 1, ocsp: 1 },
    byRefusal: {},
  });
});

test("faults hit the revocation services of one CA alone, and never its enrolment", async () => {
  await running.client.control("ca-ecdsa", { fault: "error" });
  assert.equal((await ask("/ca/ca-ecdsa/crl")).status, 500);
  assert.equal((await ask("/ca/ca-sm2/crl")).status, 200);
  assert.ok((await running.client.issueCertificate("ca-ecdsa", subject)).serial);
  await running.client.control("ca-ecdsa", { fault: "maintenance" });
  const away = await ask("/ca/ca-ecdsa/root-crl");
  assert.deepEqual([away.status, away.headers.get("retry-after")], [503, "60"]);
  await running.client.control("ca-ecdsa", { fault: "drop" });
  await assert.rejects(ask("/ca/ca-ecdsa/crl"), TypeError);
  await running.client.control("ca-ecdsa", { fault: "none", quotaPerSecond: 1 });
  running.time.nowMs += 1000;
  assert.equal((await ask("/ca/ca-ecdsa/crl")).status, 200);
  assert.equal((await ask("/ca/ca-ecdsa/crl")).status, 429);
  await running.client.control("ca-ecdsa", { fault: "hang", quotaPerSecond: 10 });
  const leaving = new AbortController();
  const hanging = ask("/ca/ca-ecdsa/crl", { signal: leaving.signal });
  while ((await running.client.counters("ca-ecdsa")).byRefusal.hung !== 1) await new Promise(setImmediate);
  leaving.abort();
  await assert.rejects(hanging, { name: "AbortError" });
});

test("unknown CAs and paths are not found", async () => {
  for (const path of [
    "/ca/ca-rsa/crl",
    "/ca/sandbox-sm2/crl",
    "/ca/ca-sm2",
    "/ca/ca-sm2/",
    "/ca/ca-sm2/keys",
    "/ca/ca-sm2/../x",
  ]) {
    assert.equal((await ask(path)).status, 404, path);
  }
  assert.equal((await ask("/ca/ca-sm2/profile.json", { method: "DELETE" })).status, 405);
});
