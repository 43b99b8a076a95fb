/** What a source needs before it gets traffic (SZ-11, SZ-12), and what a tester's report has to be. Pure. */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { DomainError, fieldError } from "@fujie/kit/errors";

export const testKinds = ["FUNCTION", "SECURITY"] as const;
export type TestKind = (typeof testKinds)[number];

/** What is on file about a registered source. */
export interface SourceFile {
  readonly agreementStart: Date | null;
  readonly agreementEnd: Date | null;
  readonly attestedAt: Date | null;
  readonly attestationRevokedAt: Date | null;
}

/** The newest report of a kind. */
export interface TestResult {
  readonly kind: TestKind;
  readonly passed: boolean;
  readonly validUntil: Date;
}

export interface Lack {
  readonly reason:
    | "AGREEMENT_MISSING"
    | "AGREEMENT_EXPIRED"
    | "ATTESTATION_MISSING"
    | "ATTESTATION_REVOKED"
    | "TEST_REPORT_MISSING"
    | "TEST_REPORT_FAILED"
    | "TEST_REPORT_EXPIRED";
  readonly subject: "agreement" | "attestation" | TestKind;
}

/** Everything that keeps the source from being enabled now, in the order in which it is told. */
export function lacksOf(file: SourceFile, newest: readonly TestResult[], now: Date): Lack[] {
  const lacks = [
    agreementLack(file, now),
    attestationLack(file),
    ...testKinds.map((kind) => testLack(kind, newest, now)),
  ];
  return lacks.filter((lack) => lack !== undefined);
}

/** Throws the first lack. */
export function requireEnablable(file: SourceFile, newest: readonly TestResult[], now: Date): void {
  const [lack] = lacksOf(file, newest, now);
  if (lack !== undefined) throw new DomainError(lack.reason, { subject: lack.subject });
}

function agreementLack({ agreementStart, agreementEnd }: SourceFile, now: Date): Lack | undefined {
  const subject = "agreement";
  if (agreementStart === null || agreementEnd === null || agreementStart > now) {
    return { reason: "AGREEMENT_MISSING", subject };
  }
  return agreementEnd <= now ? { reason: "AGREEMENT_EXPIRED", subject } : undefined;
}

function attestationLack({ attestedAt, attestationRevokedAt }: SourceFile): Lack | undefined {
  const subject = "attestation";
  if (attestedAt === null) return { reason: "ATTESTATION_MISSING", subject };
  return attestationRevokedAt === null ? undefined : { reason: "ATTESTATION_REVOKED", subject };
}

function testLack(kind: TestKind, newest: readonly TestResult[], now: Date): Lack | undefined {
  const result = newest.find((each) => each.kind === kind);
  if (result === undefined) return { reason: "TEST_REPORT_MISSING", subject: kind };
  if (!result.passed) return { reason: "TEST_REPORT_FAILED", subject: kind };
  return result.validUntil <= now ? { reason: "TEST_REPORT_EXPIRED", subject: kind } : undefined;
}

/** Throws DATE_RANGE_INVALID unless the end is after the start, not past, and at most `daysMax` after the start. */
export function requireRange(range: { start: Date; end: Date }, field: string, daysMax: number, now: Date): void {
  const { start, end } = range;
  const days = (end.getTime() - start.getTime()) / 86_400_000;
  if (days > 0 && days <= daysMax && end > now) return;
  throw fieldError("DATE_RANGE_INVALID", field, `is past, not after the start, or more than ${daysMax} days after it`);
}

/** Reads a tester's key. Throws FIELD_INVALID for anything but Ed25519. */
export function readTesterKey(der: Uint8Array): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Told below.
  }
  throw fieldError("FIELD_INVALID", "public_key", "is no Ed25519 key");
}

const REPORT_TAG = Buffer.from("fujie-conformance-report-v1\n");

/** Whether the tester has signed exactly these bytes. */
export function isReportSigned(key: KeyObject, report: Uint8Array, signature: Uint8Array): boolean {
  return verify(null, Buffer.concat([REPORT_TAG, report]), key, signature);
}

export interface Report {
  readonly sourceId: string;
  readonly nonce: Buffer;
  readonly passed: boolean;
}

const VERDICTS: ReadonlyMap<unknown, boolean> = new Map([
  ["PASSED", true],
  ["FAILED", false],
]);

/** Reads a report whose signature was verified. Throws TEST_REPORT_INVALID naming what is wrong. */
export function readReport(bytes: Uint8Array): Report {
  const invalid = (problem: string) => fieldError("TEST_REPORT_INVALID", "report", problem);
  const fields = parseObject(bytes);
  if (fields === undefined) throw invalid("is no JSON object");
  const { sourceId, nonce, verdict, cases } = fields;
  if (typeof sourceId !== "string") throw invalid("has no sourceId");
  if (typeof nonce !== "string" || !/^[0-9a-f]{64}$/.test(nonce)) throw invalid("has no nonce");
  const passed = VERDICTS.get(verdict);
  if (passed === undefined) throw invalid("has no verdict");
  if (passed && !isPassed(cases)) throw invalid("has a verdict that does not follow from its cases");
  return { sourceId, nonce: Buffer.from(nonce, "hex"), passed };
}

/** At least one case passed, and none failed. */
function isPassed(cases: unknown): boolean {
  const results = Array.isArray(cases) ? cases.map((each: unknown) => resultOf(each)) : [];
  const known = results.every((result) => result === "PASSED" || result === "NOT_APPLICABLE");
  return known && results.includes("PASSED");
}

function resultOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && "result" in value ? value.result : undefined;
}

function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
