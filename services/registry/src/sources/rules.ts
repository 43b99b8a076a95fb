/** What a source needs before it gets traffic (SZ-11, SZ-12), and what a tester's report has to be. Pure. */
import { createPublicKey, type KeyObject } from "node:crypto";
import {
  contractVersion,
  isReportSigned,
  openReport,
  type Report,
  ReportError,
  suiteCaseIds,
  testerKeyIdOf,
  verdictOf,
} from "@fujie/conformance";
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

const PEM_BEGIN = "-----BEGIN PUBLIC KEY-----";

/** Reads a tester's key, SubjectPublicKeyInfo in DER or PEM. Throws FIELD_INVALID for anything but a public Ed25519 key. */
export function readTesterKey(bytes: Uint8Array): KeyObject {
  try {
    const data = Buffer.from(bytes);
    // Node would take the public half of a private key, which has no business here.
    const isPem = data.subarray(0, PEM_BEGIN.length).toString("latin1") === PEM_BEGIN;
    const key = isPem ? createPublicKey(data) : createPublicKey({ key: data, format: "der", type: "spki" });
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Told below.
  }
  throw fieldError("FIELD_INVALID", "public_key", "is no public Ed25519 key in DER or PEM");
}

export interface TestReport {
  readonly sourceId: string;
  readonly nonce: Buffer;
  readonly passed: boolean;
}

/**
 * Reads a report that the tester signed. Passed only if the tester says so over every case of the suite, of this version
 * of the contract. Throws SIGNATURE_INVALID, or TEST_REPORT_INVALID naming what is wrong.
 */
export function readReport(tester: KeyObject, bytes: Uint8Array, signature: Uint8Array): TestReport {
  if (!isReportSigned(bytes, signature, tester)) throw new DomainError("SIGNATURE_INVALID");
  const { sourceId, nonce, cases, verdict, contractVersion: about } = open(tester, bytes, signature);
  if (about !== contractVersion()) throw invalid("is about another version of the contract");
  const passed = verdict === "PASSED";
  if (passed && verdictOf(cases, suiteCaseIds) !== "PASSED") {
    throw invalid("says PASSED over other cases than those of the suite");
  }
  return { sourceId, nonce: Buffer.from(nonce, "hex"), passed };
}

function open(tester: KeyObject, bytes: Uint8Array, signature: Uint8Array): Report {
  const keyId = testerKeyIdOf(tester);
  try {
    const text = Buffer.from(signature).toString("base64url");
    return openReport(bytes, { keyId, signature: text }, new Map([[keyId, tester]]));
  } catch (error) {
    if (error instanceof ReportError) throw invalid(`is not sound: ${error.message}`);
    throw error;
  }
}

function invalid(problem: string) {
  return fieldError("TEST_REPORT_INVALID", "report", problem);
}
