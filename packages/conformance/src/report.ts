/**
 * The report of a conformance test (SZ-12): what was tested, by whom, case by case. It is signed as bytes: the tester's
 * Ed25519 key signs "fujie-conformance-report-v1\n" and the canonical JSON, and a reader verifies the bytes as they came
 * before it parses them.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";

export const REPORT_DOMAIN = "fujie-conformance-report-v1\n";
export const REPORT_FORMAT_VERSION = 1;
/** What the registry issues for a test: 32 bytes in lower-case hexadecimal. */
export const NONCE_FORM = /^[0-9a-f]{64}$/;
/** Far above what the suite writes. */
export const REPORT_BYTES_MAX = 256 * 1024;

const RESULTS = ["PASSED", "FAILED", "NOT_APPLICABLE"] as const;
export type CaseResult = (typeof RESULTS)[number];
export type Verdict = "PASSED" | "FAILED";

export interface CaseReport {
  /** "assertion.nonce" */
  readonly id: string;
  readonly title: string;
  readonly requirement: string;
  readonly result: CaseResult;
  /** Why it does not apply; empty otherwise. */
  readonly reason: string;
  readonly milliseconds: number;
  /** What went wrong, or what is worth knowing. Never an element of a test subject. */
  readonly detail: string;
}

export interface Report {
  readonly formatVersion: number;
  readonly sourceId: string;
  /** "host:port" */
  readonly endpoint: string;
  /** What the registry issued for this test: 64 lower-case hexadecimal characters. */
  readonly nonce: string;
  /** SHA-256 of the descriptor set of fujie.source.v1, hexadecimal. */
  readonly contractVersion: string;
  readonly testerKeyId: string;
  /** RFC 3339, UTC, milliseconds. */
  readonly startTime: string;
  readonly endTime: string;
  readonly cases: readonly CaseReport[];
  readonly verdict: Verdict;
}

/** The contents of report.sig. */
export interface ReportSignature {
  readonly keyId: string;
  /** Ed25519, 64 bytes, base64url. */
  readonly signature: string;
}

/** A report, signature or key file that is not what it must be. Names the field. */
export class ReportError extends Error {
  override readonly name = "ReportError";
}

/** Passed only if no case failed and every case of the suite is there: a skipped case is never a pass. */
export function verdictOf(cases: readonly CaseReport[], suite: readonly string[]): Verdict {
  const known = new Set(cases.map(({ id }) => id));
  const complete = suite.every((id) => known.has(id)) && known.size === cases.length;
  const passed = cases.some(({ result }) => result === "PASSED") && cases.every(({ result }) => result !== "FAILED");
  return complete && passed ? "PASSED" : "FAILED";
}

/** The id of a tester's key follows from the key: the first 16 hexadecimal digits of SHA-256 of its SPKI DER. */
export function testerKeyIdOf(publicKey: KeyObject): string {
  const der = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(der).digest("hex").slice(0, 16);
}

/** The exact bytes that are signed and stored. */
export function encodeReport(report: Report): Buffer {
  return Buffer.from(canonicalJson(toJson(report)));
}

export function signReport(bytes: Uint8Array, key: KeyObject): ReportSignature {
  if (key.asymmetricKeyType !== "ed25519") throw new ReportError("the tester's key is not Ed25519");
  const signature = sign(null, signedBytes(bytes), key).toString("base64url");
  return { keyId: testerKeyIdOf(createPublicKey(key)), signature };
}

/**
 * Reads a report. Checks, in this order: the key is a known tester's, the signature is over these very bytes, the JSON
 * is canonical and complete, the tester is who signed, the verdict follows from the cases. Throws ReportError. Says
 * nothing about whether nonce, source and contract are the expected ones: compare them.
 */
export function openReport(
  bytes: Uint8Array,
  signature: ReportSignature,
  testers: ReadonlyMap<string, KeyObject>,
): Report {
  if (bytes.length > REPORT_BYTES_MAX) throw new ReportError("the report is too large");
  const key = testers.get(signature.keyId);
  if (key === undefined) throw new ReportError("the report is signed by an unknown tester");
  if (key.asymmetricKeyType !== "ed25519") throw new ReportError("the tester's key is not Ed25519");
  const signed = isReportSigned(bytes, Buffer.from(signature.signature, "base64url"), key);
  if (!signed) throw new ReportError("the signature does not fit the report");
  const report = parseReport(bytes);
  if (report.testerKeyId !== signature.keyId) throw new ReportError("testerKeyId is not the signer's");
  const own = report.cases.map(({ id }) => id);
  if (report.verdict === "PASSED" && verdictOf(report.cases, own) !== "PASSED") {
    throw new ReportError("verdict does not follow from the cases");
  }
  return report;
}

/** Whether the Ed25519 key has signed exactly these bytes of a report. */
export function isReportSigned(bytes: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  return verify(null, signedBytes(bytes), key, signature);
}

/** Reads report.sig. Throws ReportError. */
export function parseSignature(text: string): ReportSignature {
  const fields = readFields(parseJson(text, "the signature"), "the signature");
  const keyId = fields.text("keyId", /^[0-9a-f]{16}$/);
  const signature = fields.text("signature", /^[A-Za-z0-9_-]{86}$/);
  fields.done();
  return { keyId, signature };
}

function signedBytes(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(REPORT_DOMAIN), bytes]);
}

function toJson(report: Report) {
  return { ...report, cases: report.cases.map((one) => ({ ...one })) };
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function parseReport(bytes: Uint8Array): Report {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  const fields = readFields(parseJson(text, "the report"), "the report");
  const version = fields.whole("formatVersion");
  if (version !== REPORT_FORMAT_VERSION) throw new ReportError("formatVersion is not one that is known");
  const report: Report = {
    formatVersion: version,
    sourceId: fields.text("sourceId", /^[a-z0-9][a-z0-9-]{0,62}$/),
    endpoint: fields.text("endpoint", /^[\x21-\x7e]{3,300}$/),
    nonce: fields.text("nonce", NONCE_FORM),
    contractVersion: fields.text("contractVersion", /^[0-9a-f]{64}$/),
    testerKeyId: fields.text("testerKeyId", /^[0-9a-f]{16}$/),
    startTime: fields.text("startTime", TIME),
    endTime: fields.text("endTime", TIME),
    cases: fields.list("cases").map(parseCase),
    verdict: fields.text("verdict", /^(PASSED|FAILED)$/) === "PASSED" ? "PASSED" : "FAILED",
  };
  fields.done();
  if (!Buffer.from(bytes).equals(encodeReport(report))) throw new ReportError("the report is not canonical JSON");
  return report;
}

function parseCase(value: unknown, index: number): CaseReport {
  const fields = readFields(value, `cases[${index}]`);
  const found = fields.text("result", /^[A-Z_]{1,20}$/);
  const result = RESULTS.find((known) => known === found);
  if (result === undefined) throw new ReportError(`cases[${index}].result is none that is known`);
  const parsed: CaseReport = {
    id: fields.text("id", /^[a-z0-9][a-z0-9.-]{0,80}$/),
    title: fields.text("title", /^.{1,300}$/u),
    requirement: fields.text("requirement", /^.{1,60}$/u),
    result,
    reason: fields.text("reason", /^.{0,1000}$/su),
    milliseconds: fields.whole("milliseconds"),
    detail: fields.text("detail", /^.{0,2000}$/su),
  };
  fields.done();
  return parsed;
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ReportError(`${what} is not JSON`);
  }
}

/** Reads an object field by field and refuses what nobody asked for. */
function readFields(value: unknown, where: string) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ReportError(`${where} is not an object`);
  }
  const rest = new Map<string, unknown>(Object.entries(value));
  const take = (field: string): unknown => {
    const found = rest.get(field);
    rest.delete(field);
    return found;
  };
  const wrong = (field: string) => new ReportError(`${where}: ${field} is missing or not of its form`);
  return {
    text(field: string, form: RegExp): string {
      const found = take(field);
      if (typeof found !== "string" || !form.test(found)) throw wrong(field);
      return found;
    },
    whole(field: string): number {
      const found = take(field);
      if (typeof found !== "number" || !Number.isSafeInteger(found) || found < 0) throw wrong(field);
      return found;
    },
    list(field: string): readonly unknown[] {
      const found: unknown = take(field);
      if (!Array.isArray(found) || found.length > 1_000) throw wrong(field);
      return found;
    },
    done(): void {
      const [field] = rest.keys();
      if (field !== undefined) throw new ReportError(`${where}: ${field} is no known field`);
    },
  };
}
