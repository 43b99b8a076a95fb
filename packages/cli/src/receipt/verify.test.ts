import assert from "node:assert/strict";
import { sign as edSign, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { clone, create, toJsonString } from "@bufbuild/protobuf";
import {
  type GetReceiptResponse,
  GetReceiptResponseSchema,
  ReceiptSchema,
} from "@fujie/api/fujie/trust/v1/verification";
import { signCheckpoint } from "@fujie/audit/log";
import { canonicalElements } from "@fujie/identity";
import { manualClock } from "@fujie/kit/clock";
import { type KeyBundle, loadKeyBundle, openFileKeyRing, provisionKeys } from "@fujie/kit/keys";
import {
  addSignatures,
  commitElements,
  createCosigner,
  encodeEntry,
  encodeReceiptStatement,
  entryLeafHash,
  formatNote,
  formatProofBundle,
  formatVerifierKey,
  leafHash,
  nodeHash,
  parseNote,
  parseVerifierKey,
  receiptBatchMessage,
  sealBatch,
} from "@fujie/transparency";
import fc from "fast-check";
import { runReceipt } from "../commands/receipt.ts";
import { readElements } from "./elements.ts";
import { verifyReceipt } from "./verify.ts";

const clock = manualClock(Date.UTC(2026, 5, 1));
const ORIGIN = "audit.example.cn/log";
const CLAIM = { type: "CLAIM_TYPE_PERSON_TWO_ELEMENT", citizenId: "11010519491231002X", personName: "欧阳·测试" };
const ELEMENTS = canonicalElements({
  type: "PERSON_TWO_ELEMENT",
  citizenId: CLAIM.citizenId,
  personName: CLAIM.personName,
});

const dir = mkdtempSync(join(tmpdir(), "fujie-receipt-"));
const keys = provisionKeys({ rootDir: join(dir, "keys"), services: ["trust-gateway", "audit"], clock });
let bundle: KeyBundle & Disposable;
let file: GetReceiptResponse;
let plain: GetReceiptResponse;
let witness: string;

/** A receipt as the gateway makes one, the `index`-th of five, in a log of two entries that a witness cosigned. */
async function makeReceipt(sm2: boolean, index: number): Promise<GetReceiptResponse> {
  const gateway = openFileKeyRing(keys.keysDir("trust-gateway"), { service: "trust-gateway", clock });
  const audit = openFileKeyRing(keys.keysDir("audit"), { service: "audit", clock });
  const salt = new Uint8Array(randomBytes(32));
  const statement = encodeReceiptStatement({
    verificationId: "0198c0de-0000-7000-8000-000000000001",
    applicationId: "0198c0de-0000-7000-8000-00000000000a",
    purpose: "housing-fund.withdrawal",
    outcome: "VERIFIED",
    level: 2,
    decidedAtMs: clock.nowMs(),
    commitment: commitElements(ELEMENTS, salt),
    sm2,
  });
  const statements = Array.from({ length: 5 }, (_, i) => (i === index ? statement : new Uint8Array(randomBytes(40))));
  const { root, size, paths } = sealBatch(statements);
  const message = receiptBatchMessage(root, size);
  const es256 = await gateway.sign("receipt", message);
  const second = sm2 ? await gateway.sign("receipt-sm2", message) : undefined;

  const entryPreimage = encodeEntry({
    ...{ timeMs: clock.nowMs(), service: "trust-gateway", eventId: "0198c0de-0000-7000-8000-0000000000ee" },
    ...{ type: "receipts.signed", outcome: "SUCCESS", actor: "trust-gateway", subject: "", applicationId: "" },
    ...{ organisationId: "", traceId: "", purpose: "", reason: "" },
    detailsSha256: new Uint8Array(),
    digest: root,
  });
  const entrySalt = new Uint8Array(randomBytes(32));
  const other = leafHash(new Uint8Array(randomBytes(8)));
  const treeRoot = nodeHash(other, entryLeafHash(entryPreimage, entrySalt));
  const checkpoint = await signCheckpoint(audit, { origin: ORIGIN, size: 2, root: treeRoot });
  return create(GetReceiptResponseSchema, {
    receipt: create(ReceiptSchema, {
      statement,
      salt,
      index,
      batchSize: size,
      path: [...(paths[index]?.hashes ?? [])],
      signature: es256.signature,
      keyId: es256.keyId,
      ...(second && { sm2Signature: second.signature, sm2KeyId: second.keyId }),
    }),
    entryPreimage,
    entrySalt,
    proofBundle: formatProofBundle({ index: 1, path: [other], checkpoint: await cosign(checkpoint) }),
  });
}

const { publicKey, privateKey } = generateKeyPairSync("ed25519");

async function cosign(note: string): Promise<string> {
  const key = {
    name: "witness.example",
    publicKey: Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url"),
  };
  const sign = async (bytes: Uint8Array) => edSign(null, bytes, privateKey);
  const cosigner = createCosigner(key, sign, () => Math.floor(clock.nowMs() / 1_000));
  witness = formatVerifierKey({ ...key, algorithm: "cosignature/v1" });
  return formatNote(await addSignatures(parseNote(note), [cosigner]));
}

before(async () => {
  bundle = loadKeyBundle(keys.bundleFile, keys.bundleRootFile);
  plain = await makeReceipt(false, 0);
  file = await makeReceipt(true, 3);
});
after(() => {
  bundle[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

const trust = () => ({ bundle, witnesses: [parseVerifierKey(witness)] });
const reasonOf = (altered: GetReceiptResponse, elements?: string) => {
  const verdict = verifyReceipt(altered, trust(), elements);
  return verdict.ok ? "proven" : verdict.reason;
};

test("NI-32 a receipt is proven by the public keys alone: signatures, log, witness, and whom it is about", () => {
  const verdict = verifyReceipt(file, trust(), ELEMENTS);
  assert.ok(verdict.ok);
  assert.deepEqual(verdict.signatures, ["ES256", "SM2"]);
  assert.deepEqual([verdict.logged.index, verdict.logged.size, verdict.logged.origin], [1, 2, ORIGIN]);
  assert.deepEqual([verdict.cosignatures[0]?.name, verdict.elements], ["witness.example", "COMMITTED"]);
  const without = verifyReceipt(plain, { bundle, witnesses: [] });
  assert.ok(without.ok);
  assert.deepEqual([without.signatures, without.elements], [["ES256"], "NOT_COMPARED"]);
});

/** Every part of a bundle, with a way to put other bytes in its place. */
type Parts = readonly (readonly [
  name: string,
  read: Uint8Array,
  write: (message: GetReceiptResponse, bytes: Uint8Array) => void,
])[];

function partsOf(message: GetReceiptResponse): Parts {
  const receipt = message.receipt ?? assert.fail();
  const into =
    (write: (own: NonNullable<GetReceiptResponse["receipt"]>, bytes: Uint8Array) => void) =>
    (altered: GetReceiptResponse, bytes: Uint8Array) =>
      write(altered.receipt ?? assert.fail(), bytes);
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
  return [
    [
      "statement",
      receipt.statement,
      into((own, bytes) => {
        own.statement = bytes;
      }),
    ],
    [
      "salt",
      receipt.salt,
      into((own, bytes) => {
        own.salt = bytes;
      }),
    ],
    [
      "signature",
      receipt.signature,
      into((own, bytes) => {
        own.signature = bytes;
      }),
    ],
    [
      "key id",
      Buffer.from(receipt.keyId),
      into((own, bytes) => {
        own.keyId = text(bytes);
      }),
    ],
    [
      "SM2 signature",
      receipt.sm2Signature,
      into((own, bytes) => {
        own.sm2Signature = bytes;
      }),
    ],
    [
      "SM2 key id",
      Buffer.from(receipt.sm2KeyId),
      into((own, bytes) => {
        own.sm2KeyId = text(bytes);
      }),
    ],
    ...receipt.path.map(
      (hash, i) =>
        [
          `path ${i}`,
          hash,
          into((own, bytes) => {
            own.path[i] = bytes;
          }),
        ] as const,
    ),
    [
      "entry",
      message.entryPreimage,
      (altered, bytes) => {
        altered.entryPreimage = bytes;
      },
    ],
    [
      "entry's salt",
      message.entrySalt,
      (altered, bytes) => {
        altered.entrySalt = bytes;
      },
    ],
    [
      "proof bundle",
      Buffer.from(message.proofBundle),
      (altered, bytes) => {
        altered.proofBundle = text(bytes);
      },
    ],
  ];
}

test("NI-32 a receipt in which any bit of any part was changed, cut or added is not proven", () => {
  const parts = partsOf(file);
  const change = fc.record({
    part: fc.nat({ max: parts.length - 1 }),
    at: fc.nat(),
    bit: fc.nat({ max: 7 }),
    how: fc.constantFrom("flip", "cut", "add"),
  });
  fc.assert(
    fc.property(change, ({ part, at, bit, how }) => {
      const [name, bytes, write] = parts[part] ?? assert.fail();
      const other =
        how === "cut"
          ? Uint8Array.from(bytes.subarray(0, -1))
          : how === "add"
            ? Uint8Array.of(...bytes, at % 256)
            : Uint8Array.from(bytes);
      if (how === "flip") other[at % other.length] = (other[at % other.length] ?? 0) ^ (1 << bit);
      const altered = clone(GetReceiptResponseSchema, file);
      write(altered, other);
      assert.notEqual(reasonOf(altered, ELEMENTS), "proven", `${name}, ${how}`);
    }),
    { numRuns: 150 },
  );
  for (const change of [
    { index: 2 },
    { index: 4 },
    { batchSize: 4 },
    { batchSize: 6 },
    { sm2Signature: new Uint8Array(), sm2KeyId: "" },
  ]) {
    const altered = clone(GetReceiptResponseSchema, file);
    Object.assign(altered.receipt ?? {}, change);
    assert.notEqual(reasonOf(altered), "proven", JSON.stringify(Object.keys(change)));
  }
});

test("parts of two receipts do not make one: each names what does not fit", () => {
  const mixed = (change: Partial<GetReceiptResponse>) =>
    reasonOf(Object.assign(clone(GetReceiptResponseSchema, file), change));
  const { entryPreimage, entrySalt, proofBundle } = plain;
  assert.equal(mixed({ entryPreimage, entrySalt, proofBundle }), "ENTRY_OF_ANOTHER_BATCH");
  assert.equal(mixed({ proofBundle }), "ROOT_MISMATCH");
  assert.equal(reasonOf(create(GetReceiptResponseSchema)), "RECEIPT_MISSING");
  const stranger = readElements(JSON.stringify({ ...CLAIM, personName: "欧阳·別人" }));
  assert.equal(reasonOf(file, stranger), "COMMITMENT_MISMATCH");
  const salted = clone(GetReceiptResponseSchema, file);
  Object.assign(salted.receipt ?? {}, { salt: new Uint8Array() });
  assert.equal(reasonOf(salted, ELEMENTS), "SALT_MALFORMED");
});

test("SU-6.3 the command says line by line what is proven; it ends with 0, 1 or 2", async () => {
  const path = (name: string) => join(dir, name);
  const write = (name: string, text: string) => {
    writeFileSync(path(name), text);
    return path(name);
  };
  const good = write("receipt.json", toJsonString(GetReceiptResponseSchema, file));
  const altered = clone(GetReceiptResponseSchema, file);
  altered.entrySalt = new Uint8Array(32);
  const bad = write("altered.json", toJsonString(GetReceiptResponseSchema, altered));
  const trustOptions = ["--keys", keys.bundleFile, "--root", keys.bundleRootFile];
  const run = async (...args: string[]) => {
    const lines: string[] = [];
    const code = await runReceipt(["verify", ...args, ...trustOptions], (line) => lines.push(line)).catch(
      (error: unknown) => (error instanceof Error ? error.name : "failed"),
    );
    return { code, said: lines.map((line) => line.split(":")[0]) };
  };
  const elements = ["--elements", write("elements.json", JSON.stringify(CLAIM))];
  assert.deepEqual(await run(good, ...elements, "--witness", witness), {
    code: 0,
    said: ["SIGNED", "LOGGED", "WITNESSED", "ABOUT", "PROVEN"],
  });
  assert.deepEqual((await run(good)).said.slice(2), ["UNWITNESSED", "NOT COMPARED with anybody's elements", "PROVEN"]);
  assert.deepEqual(await run(bad), { code: 1, said: ["NOT PROVEN"] });
  assert.equal((await run(write("noise.json", "{]"))).code, "UsageError");
  assert.equal((await run(good, "--elements", write("none.json", "[]"))).code, "UsageError");
});
