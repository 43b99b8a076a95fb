import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  append,
  createSigner,
  emptyFrontier,
  formatAddCheckpoint,
  formatCheckpoint,
  formatVerifierKey,
  leafHash,
  openNote,
  parseVerifierKey,
  proveConsistency,
  readCosignatures,
  readNodesOf,
  root,
  signNote,
} from "@fujie/transparency";
import { createWitnessKey, type RunningWitness, readSettings, startWitness } from "../src/index.ts";
import { openState } from "../src/state.ts";

const ORIGIN = "log.test.example/1";
const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const x = new Uint8Array(Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url"));
const key = { name: ORIGIN, algorithm: "ed25519", publicKey: x } as const;
const signer = createSigner(key, (bytes) => new Uint8Array(sign(null, bytes, privateKey)));

const leaves = Array.from({ length: 40 }, (_, at) => leafHash(Buffer.from(`leaf ${at}`)));
const fork = leaves.with(3, leafHash(Buffer.from("another history")));

/** A checkpoint of the first `size` leaves, and the proof that it continues `oldSize` of them. */
async function step(oldSize: number, size: number, tree = leaves, origin = ORIGIN): Promise<string> {
  const cut = tree.slice(0, size);
  const text = formatCheckpoint({ origin, size, root: root(append(emptyFrontier(), cut)), extensions: [] });
  const proof = oldSize === 0 || oldSize >= size ? [] : proveConsistency(oldSize, size, readNodesOf(cut));
  return formatAddCheckpoint({ oldSize, proof, checkpoint: await signNote(text, [signer]) });
}

interface World {
  readonly folder: string;
  readonly configFile: string;
  nowS: number;
  start(): Promise<RunningWitness>;
}

function openWorld(t: { after(fn: () => void): void }): World {
  const folder = mkdtempSync(join(tmpdir(), "fujie-witness-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  createWitnessKey(join(folder, "witness.pem"));
  const configFile = join(folder, "witness.json");
  const logs = [{ origin: ORIGIN, verifierKeys: [formatVerifierKey(key)] }];
  const files = { keyFile: "witness.pem", stateFile: "witness.db" };
  writeFileSync(configFile, JSON.stringify({ name: "witness.test/1", listen: "127.0.0.1:0", ...files, logs }));
  const world: World = {
    folder,
    configFile,
    nowS: 1_700_000_000,
    start: () => startWitness({ settings: readSettings(configFile), nowS: () => world.nowS, log: () => {} }),
  };
  return world;
}

async function post({ port }: RunningWitness, body: string): Promise<{ status: number; type: string; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}/add-checkpoint`, { method: "POST", body });
  return { status: response.status, type: response.headers.get("content-type") ?? "", text: await response.text() };
}

test("a witness cosigns what continues the log, refuses rollback and fork, and remembers across restarts", async (t) => {
  const world = openWorld(t);
  let cosigned: string;
  {
    await using witness = await world.start();
    const first = await step(0, 5);
    const answer = await post(witness, first);
    assert.equal(answer.status, 200);
    const note = first.slice(first.indexOf("\n\n") + 2);
    const trusted = parseVerifierKey(witness.verifierKey);
    assert.equal(readCosignatures(note, answer.text, [trusted])?.length, 1);
    const opened = openNote(note + answer.text, [trusted]);
    assert.equal(opened.ok && opened.verified[0].timestampS, world.nowS);

    assert.equal((await post(witness, await step(5, 12))).status, 200);
    // The same again, as after a lost answer: cosigned again, with the time of now.
    world.nowS += 60;
    const again = await post(witness, await step(12, 12));
    assert.equal(again.status, 200);
    cosigned = again.text;
  }
  await using witness = await world.start();
  const behind = await post(witness, await step(5, 20));
  assert.deepEqual(behind, { status: 409, type: "text/x.tlog.size", text: "12\n" });
  assert.equal((await post(witness, await step(0, 40, fork))).status, 409, "a log that begins anew");
  assert.equal((await post(witness, await step(12, 12, fork))).status, 422, "another root at the same size");
  assert.equal((await post(witness, await step(12, 20, fork))).status, 422, "another history further on");
  const rollback = (await step(5, 8)).replace("old 5", "old 12");
  assert.equal((await post(witness, rollback)).status, 400, "smaller than what it is said to continue");

  const path = createHash("sha256").update(ORIGIN).digest("hex");
  const served = await (await fetch(`http://127.0.0.1:${witness.port}/${path}/checkpoint`)).text();
  assert.ok(served.startsWith(`${ORIGIN}\n12\n`) && served.endsWith(cosigned));
  assert.equal((await fetch(`http://127.0.0.1:${witness.port}/${"0".repeat(64)}/checkpoint`)).status, 404);
});

test("what is not a checkpoint of a known log gets the status that the protocol gives it", async (t) => {
  await using witness = await openWorld(t).start();
  const good = await step(0, 5);
  const cases: [what: string, body: string, status: number][] = [
    ["no form at all", "hello", 400],
    ["a size with a leading zero", good.replace("old 0", "old 00"), 400],
    ["a proof line that is no hash", good.replace("old 0\n", "old 0\nAAAA\n"), 400],
    ["too many proof lines", good.replace("old 0\n", `old 0\n${`${"A".repeat(43)}=\n`.repeat(64)}`), 400],
    ["another log", await step(0, 5, leaves, "log.test.example/2"), 404],
    ["a changed text", good.replace("\n5\n", "\n6\n"), 403],
    ["a proof from nothing", good.replace("old 0\n", `old 0\n${"A".repeat(43)}=\n`), 422],
    ["an old size beyond the checkpoint", good.replace("old 0", "old 6"), 400],
    ["an old size that never was", good.replace("old 0", "old 3"), 409],
  ];
  for (const [what, body, status] of cases) assert.equal((await post(witness, body)).status, status, what);
  const emptyTree = `${ORIGIN}\n0\n${"A".repeat(43)}=\n`;
  const wrongRoot = `old 0\n\n${await signNote(emptyTree, [signer])}`;
  assert.equal((await post(witness, wrongRoot)).status, 422, "an empty tree with a root");
  assert.equal((await post(witness, "x".repeat(70_000))).status, 413);
  assert.equal((await fetch(`http://127.0.0.1:${witness.port}/add-checkpoint`)).status, 405);
  assert.equal((await post(witness, good)).status, 200, "none of it left anything behind");
});

test("of two requests at once, and of two processes on one memory, one alone moves the witness", async (t) => {
  const world = openWorld(t);
  await using one = await world.start();
  await using two = await world.start();
  const rivals = await Promise.all([step(0, 7), step(0, 9, fork), step(0, 11), step(0, 7, fork)]);
  const answers = await Promise.all(rivals.map((body, at) => post(at % 2 === 0 ? one : two, body)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409, 409]);

  using state = openState(join(world.folder, "state.db"));
  const root = new Uint8Array(32);
  assert.ok(state.advance("a", 0, { size: 4, root, note: "4" }));
  assert.equal(state.advance("a", 0, { size: 5, root, note: "5" }), false);
  assert.equal(state.advance("a", 4, { size: 3, root, note: "3" }), false);
  assert.equal(state.advance("a", 4, { size: 4, root: root.with(0, 1), note: "fork" }), false);
  assert.ok(state.advance("a", 4, { size: 4, root, note: "4 again" }));
});

test("settings that are malformed, unknown or in clear text beyond loopback are refused by name", (t) => {
  const { folder } = openWorld(t);
  const file = join(folder, "other.json");
  const sound = {
    name: "w",
    listen: "127.0.0.1:0",
    keyFile: "k",
    stateFile: "s",
    logs: [{ origin: ORIGIN, verifierKeys: [formatVerifierKey(key)] }],
  };
  const refused: [changes: object, named: RegExp][] = [
    [{ listen: "0.0.0.0:7061" }, /^tls:/],
    [{ listen: "nowhere" }, /^listen:/],
    [{ port: 1 }, /^port:/],
    [{ logs: [] }, /^logs:/],
    [{ logs: [{ origin: ORIGIN, verifierKeys: ["x"] }] }, /^logs\[0\]\.verifierKeys\[0\]:/],
    [{ logs: [...sound.logs, ...sound.logs] }, /^logs\[1\]\.origin:/],
  ];
  for (const [changes, named] of refused) {
    writeFileSync(file, JSON.stringify({ ...sound, ...changes }));
    assert.throws(() => readSettings(file), { name: "ConfigError", message: named });
  }
});
