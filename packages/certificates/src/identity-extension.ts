/** Who a certificate says its subject is, read by the rules of the CA that issued it. */
import type { CaProfile, IdentityExtension, IdentityField, Wrapping } from "./ca-profile.ts";
import type { Certificate } from "./certificate.ts";
import { DerError, readDer, readString } from "./der.ts";

export type IdentityReason =
  | "CERTIFICATE_IDENTITY_ABSENT"
  | "CERTIFICATE_IDENTITY_MALFORMED"
  | "CERTIFICATE_IDENTITY_CONFLICT";

export type CertificateIdentity = {
  /** The subject's common name. */
  readonly name: string;
  /** The subject's organisation, where it names one. */
  readonly organisation: string | undefined;
  /** Identifiers from extensions, upper case, shape checked; their check characters are for `@fujie/identity`. */
  readonly fields: Readonly<Partial<Record<IdentityField, string>>>;
};

export type IdentityResult =
  | { readonly ok: true; readonly identity: CertificateIdentity }
  | { readonly ok: false; readonly reason: IdentityReason };

const OID_COMMON_NAME = "2.5.4.3";
const OID_ORGANISATION = "2.5.4.10";

const SHAPES: Readonly<Record<IdentityField, RegExp>> = {
  personId: /^(?:\d{17}[\dX]|[A-Z]{3}\d{12})$/,
  socialInsuranceId: /^[\dA-Z]{6,32}$/,
  registrationNumber: /^[\dA-Z]{13,18}$/,
  organisationCode: /^[\dA-Z]{8}-?[\dX]$/,
  uscc: /^[\dA-HJ-NPQRTUWXY]{18}$/,
  taxId: /^[\dA-Z]{15,20}$/,
};

/**
 * Reads the identity of a certificate whose path to `ca` was checked. Only extensions identify; the subject's
 * attributes can only contradict them. Refuses a certificate without an identity extension (ABSENT), with a value that
 * is not of its field's shape (MALFORMED), or whose extensions and subject disagree (CONFLICT).
 */
export function readIdentity(certificate: Certificate, ca: Pick<CaProfile, "identity">): IdentityResult {
  const found: { field: IdentityField; value: string | undefined }[] = [];
  for (const rule of ca.identity.extensions) {
    const extension = certificate.extensions.get(rule.oid);
    if (extension === undefined) continue;
    found.push({ field: rule.field, value: identifierIn(rule, textOf(rule, extension.value)) });
  }
  if (found.length === 0) return refuse("CERTIFICATE_IDENTITY_ABSENT");
  const fields = agreedFields(found);
  if (typeof fields === "string") return refuse(fields);

  const names = attributeValues(certificate, OID_COMMON_NAME);
  const organisations = attributeValues(certificate, OID_ORGANISATION);
  const [name] = names;
  if (name === undefined || names.length > 1 || organisations.length > 1)
    return refuse("CERTIFICATE_IDENTITY_MALFORMED");
  if (!subjectAgrees(certificate, ca, fields)) return refuse("CERTIFICATE_IDENTITY_CONFLICT");
  return { ok: true, identity: { name, organisation: organisations[0], fields } };
}

const refuse = (reason: IdentityReason): IdentityResult => ({ ok: false, reason });

function textOf(rule: IdentityExtension, value: Uint8Array): string | undefined {
  if (rule.encoding === "RAW") return Buffer.from(value).toString("latin1");
  try {
    return readString(readDer(value));
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

/** The identifier inside its wrapping, if it has the shape of its field. */
function identifierIn(
  rule: Wrapping & { readonly field: IdentityField },
  text: string | undefined,
): string | undefined {
  const part = rule.separator === undefined ? text : text?.split(rule.separator)[rule.part];
  const value = part?.slice(rule.skip).trim().toUpperCase();
  return value !== undefined && SHAPES[rule.field].test(value) ? value : undefined;
}

function agreedFields(
  found: readonly { readonly field: IdentityField; readonly value: string | undefined }[],
): Partial<Record<IdentityField, string>> | IdentityReason {
  const fields: Partial<Record<IdentityField, string>> = {};
  for (const { field, value } of found) {
    if (value === undefined) return "CERTIFICATE_IDENTITY_MALFORMED";
    if (fields[field] !== undefined && fields[field] !== value) return "CERTIFICATE_IDENTITY_CONFLICT";
    fields[field] = value;
  }
  return fields;
}

function subjectAgrees(
  certificate: Certificate,
  ca: Pick<CaProfile, "identity">,
  fields: Partial<Record<IdentityField, string>>,
): boolean {
  return ca.identity.subject.every((rule) => {
    const expected = fields[rule.field];
    const values = attributeValues(certificate, rule.oid);
    return expected === undefined || values.every((text) => identifierIn(rule, text) === expected);
  });
}

const attributeValues = (certificate: Certificate, oid: string): string[] =>
  certificate.subject.attributes.filter((attribute) => attribute.oid === oid).map(({ value }) => value);
