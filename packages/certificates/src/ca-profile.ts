/**
 * What the platform knows about one CA: its anchors, how its certificates name people and organisations, and how their
 * status is learnt. All of it is configuration, because CAs differ in each of these.
 */
import { type Certificate, CertificateError, parseCertificate } from "./certificate.ts";

/** Identifiers that a certificate may carry. */
export const IDENTITY_FIELDS = [
  "personId",
  "socialInsuranceId",
  "registrationNumber",
  "organisationCode",
  "uscc",
  "taxId",
] as const;
export type IdentityField = (typeof IDENTITY_FIELDS)[number];

/**
 * How an identifier is wrapped, e.g. `1@5009SF0110105…` is `{separator: "@", part: 1, skip: 7}`: split at `separator`,
 * take the part with this index, drop that many leading flag characters.
 */
export type Wrapping = { readonly separator: string | undefined; readonly part: number; readonly skip: number };

export type IdentityExtension = Wrapping & {
  readonly oid: string;
  readonly field: IdentityField;
  /** DER_STRING: the extension holds an ASN.1 string. RAW: it holds the characters themselves. */
  readonly encoding: "DER_STRING" | "RAW";
};

/** An attribute of the subject name that repeats an identifier and must then agree with the extension. */
export type IdentityAttribute = Wrapping & { readonly oid: string; readonly field: IdentityField };

export type RevocationPolicy = {
  readonly ocspUrl: string | undefined;
  /** One list per issuer in the path. */
  readonly crlUrls: readonly string[];
  readonly ocspAgeMaxMs: number;
  readonly crlAgeMaxMs: number;
  /** Whether the responder echoes nonces; if so, a response without ours is refused. */
  readonly ocspNonce: boolean;
};

export type CaProfile = {
  readonly id: string;
  readonly name: string;
  readonly anchors: readonly Certificate[];
  /** Intermediates the CA publishes, DER: clients often send their own certificate only. Untrusted until checked. */
  readonly intermediates: readonly Uint8Array[];
  readonly identity: {
    readonly extensions: readonly IdentityExtension[];
    readonly subject: readonly IdentityAttribute[];
  };
  readonly revocation: RevocationPolicy;
};

/** Names the field of the profile that is wrong, e.g. `identity.extensions[0].field`. */
export class CaProfileError extends Error {
  override readonly name = "CaProfileError";
  readonly field: string;
  constructor(field: string, problem: string, options?: ErrorOptions) {
    super(`CA profile: ${field} ${problem}`, options);
    this.field = field;
  }
}

/** Validates a profile from JSON (the sandbox CA serves one as profile.json). Unknown keys are refused. */
export function parseCaProfile(json: unknown): CaProfile {
  const root = readObject(json, "profile", ["id", "name", "anchors", "intermediates", "identity", "revocation"]);
  const identity = readObject(root["identity"], "identity", ["extensions", "subject"]);
  return {
    id: readText(root["id"], "id", /^[a-z0-9][a-z0-9-]{0,62}$/),
    name: readText(root["name"], "name", /^.{1,200}$/u),
    anchors: readList(root["anchors"], "anchors", 1, 16).map((item, i) => readAnchor(item, `anchors[${i}]`)),
    intermediates: readList(root["intermediates"] ?? [], "intermediates", 0, 7).map(
      (item, i) => readCertificate(item, `intermediates[${i}]`).der,
    ),
    identity: {
      extensions: readList(identity["extensions"], "identity.extensions", 1, 32).map(readIdentityExtension),
      subject: readList(identity["subject"] ?? [], "identity.subject", 0, 32).map(readIdentityAttribute),
    },
    revocation: readRevocation(root["revocation"]),
  };
}

function readAnchor(value: unknown, field: string): Certificate {
  const certificate = readCertificate(value, field);
  if (!certificate.basicConstraints.ca) throw new CaProfileError(field, "is not a CA certificate");
  return certificate;
}

function readCertificate(value: unknown, field: string): Certificate {
  const base64 = readText(value, field, /^[A-Za-z0-9+/]+={0,2}$/);
  try {
    return parseCertificate(Buffer.from(base64, "base64"));
  } catch (cause) {
    if (cause instanceof CertificateError)
      throw new CaProfileError(field, `is not usable: ${cause.message}`, { cause });
    throw cause;
  }
}

const OID_PATTERN = /^[0-2](\.(0|[1-9]\d{0,18})){1,20}$/;
const WRAPPING_KEYS = ["separator", "part", "skip"];

function readIdentityExtension(value: unknown, index: number): IdentityExtension {
  const field = `identity.extensions[${index}]`;
  const item = readObject(value, field, ["oid", "field", "encoding", ...WRAPPING_KEYS]);
  return {
    ...readAttributeItem(item, field),
    encoding: readChoice(item["encoding"] ?? "DER_STRING", `${field}.encoding`, ["DER_STRING", "RAW"] as const),
  };
}

function readIdentityAttribute(value: unknown, index: number): IdentityAttribute {
  const field = `identity.subject[${index}]`;
  return readAttributeItem(readObject(value, field, ["oid", "field", ...WRAPPING_KEYS]), field);
}

function readAttributeItem(item: Record<string, unknown>, field: string): IdentityAttribute {
  const separator = item["separator"];
  return {
    oid: readText(item["oid"], `${field}.oid`, OID_PATTERN),
    field: readChoice(item["field"], `${field}.field`, IDENTITY_FIELDS),
    separator: separator === undefined ? undefined : readText(separator, `${field}.separator`, /^[\x21-\x7e]{1,4}$/),
    part: readNumber(item["part"] ?? 0, `${field}.part`, 0, 16),
    skip: readNumber(item["skip"] ?? 0, `${field}.skip`, 0, 64),
  };
}

function readRevocation(value: unknown): RevocationPolicy {
  const keys = ["ocspUrl", "crlUrls", "ocspAgeMaxSeconds", "crlAgeMaxSeconds", "ocspNonce"];
  const item = readObject(value, "revocation", keys);
  const ocspUrl = item["ocspUrl"] === undefined ? undefined : readUrl(item["ocspUrl"], "revocation.ocspUrl");
  const crlUrls = readList(item["crlUrls"] ?? [], "revocation.crlUrls", 0, 8).map((url, i) =>
    readUrl(url, `revocation.crlUrls[${i}]`),
  );
  if (ocspUrl === undefined && crlUrls.length === 0)
    throw new CaProfileError("revocation", "names no source of status");
  const ocspNonce = item["ocspNonce"] ?? true;
  if (typeof ocspNonce !== "boolean") throw new CaProfileError("revocation.ocspNonce", "is not a boolean");
  return {
    ocspUrl,
    crlUrls,
    ocspAgeMaxMs: 1000 * readNumber(item["ocspAgeMaxSeconds"], "revocation.ocspAgeMaxSeconds", 1, 7 * 86_400),
    crlAgeMaxMs: 1000 * readNumber(item["crlAgeMaxSeconds"], "revocation.crlAgeMaxSeconds", 1, 31 * 86_400),
    ocspNonce,
  };
}

function readUrl(value: unknown, field: string): string {
  const text = readText(value, field, /^https?:\/\/[\x21-\x7e]{1,2000}$/);
  if (!URL.canParse(text)) throw new CaProfileError(field, "is not a URL");
  return text;
}

function readObject(value: unknown, field: string, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CaProfileError(field, "is not an object");
  }
  const entries: Record<string, unknown> = Object.fromEntries(Object.entries(value));
  const unknown = Object.keys(entries).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw new CaProfileError(`${field}.${unknown}`, "is not a known field");
  return entries;
}

function readList(value: unknown, field: string, min: number, max: number): readonly unknown[] {
  if (!Array.isArray(value)) throw new CaProfileError(field, "is not a list");
  if (value.length < min || value.length > max)
    throw new CaProfileError(field, `has fewer than ${min} or more than ${max}`);
  return value;
}

function readText(value: unknown, field: string, pattern: RegExp): string {
  if (typeof value !== "string" || !pattern.test(value))
    throw new CaProfileError(field, "is missing or not of its form");
  return value;
}

function readNumber(value: unknown, field: string, min: number, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new CaProfileError(field, `is not a whole number from ${min} to ${max}`);
}

function readChoice<T extends string>(value: unknown, field: string, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) throw new CaProfileError(field, `is not one of ${choices.join(", ")}`);
  return choice;
}
