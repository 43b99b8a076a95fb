/**
 * A sandbox CA: root → issuing CA → certificates of fictional people and organisations, made by OpenSSL on first start.
 *
 *   <dataDir>/<kind>/root, issuing   what `openssl ca` keeps      <dataDir>/<kind>/responder   the OCSP responder's key
 *
 * There are two kinds, and they differ where real CAs do: algorithms, OIDs of the identity extensions, wrapping of the
 * values. Nothing here belongs into production: keys lie unencrypted beside their certificates.
 */
import { access, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Certificate, certificatesFromPem, parseCertificate, type RevocationReason } from "@fujie/certificates";
import {
  type Authority,
  type CaKind,
  type Issued,
  makeAuthority,
  openAuthority,
  type SubjectName,
} from "./authority.ts";
import { readPrivateKey } from "./private-key.ts";
import { answerOcspRequest } from "./responder.ts";

export type { CaKind, SubjectName } from "./authority.ts";

const DAY_MS = 86_400_000;
/** Certificates begin a little early, so that a verifier whose clock is behind accepts a new one. */
const BACKDATE_MS = 5 * 60_000;
const CRL_LIFE_MS = 7 * DAY_MS;

export type IdentityExtensionValue = { readonly oid: string; readonly value: string };

export type IssueInput = {
  readonly subject: SubjectName;
  /** OpenSSL's names; `["keyEncipherment"]` makes the encryption half of a pair. Default: signing. */
  readonly keyUsage?: readonly string[];
  /** Identity extensions by OID, written as UTF8String. */
  readonly identity?: readonly IdentityExtensionValue[];
  readonly days: number;
};

export type IssuedCertificate = Issued & {
  /** PEM of the leaf followed by its issuing CA; the root is configured, not sent. */
  readonly chainPem: string;
  /** The private key as 64 hexadecimal characters, for SM2 libraries; undefined for ECDSA. */
  readonly privateKeyHex: string | undefined;
};

export const ENROLMENT_KINDS = ["person", "organisation", "operator"] as const;
export type EnrolmentKind = (typeof ENROLMENT_KINDS)[number];

export type Ca = {
  readonly kind: CaKind;
  /** `sandbox-ecdsa` or `sandbox-sm2`. */
  readonly id: string;
  readonly root: Certificate;
  readonly issuing: Certificate;
  issue(input: IssueInput): Promise<IssuedCertificate>;
  /** Issues the usual certificate for a fictional subject; the identity extension follows from the kind of CA. */
  enrol(input: { kind: EnrolmentKind; name: string; identifier: string; days: number }): Promise<IssuedCertificate>;
  /** By serial number in hexadecimal. False when this CA issued no such certificate. */
  revoke(serial: string, reason?: RevocationReason): Promise<boolean>;
  /** DER of the current list: of the issuing CA, or of the root about issuing CAs. */
  crl(of?: "issuing" | "root"): Promise<Uint8Array>;
  /** DER of the answer to the DER of an OCSP request. */
  ocsp(request: Uint8Array): Uint8Array;
  /** The JSON that `parseCaProfile` reads. `baseUrl` is where this CA is served. */
  profile(baseUrl: string): unknown;
};

type IdentityRule = {
  readonly oid: string;
  readonly field: "personId" | "uscc";
  readonly encoding: "DER_STRING";
  readonly separator?: string;
  readonly part?: number;
  readonly skip?: number;
};

/** Fictional wrappings in the manner of real ones: flags before the number, parts between `@`. */
const IDENTITY: Readonly<Record<CaKind, readonly [person: IdentityRule, organisation: IdentityRule]>> = {
  sm2: [
    { oid: "1.2.156.10260.4.1.1", field: "personId", encoding: "DER_STRING", separator: "@", part: 1, skip: 7 },
    { oid: "1.2.156.10260.4.1.4", field: "uscc", encoding: "DER_STRING" },
  ],
  ecdsa: [
    { oid: "1.2.86.11.7.1", field: "personId", encoding: "DER_STRING", skip: 2 },
    { oid: "1.2.156.10260.4.1.4", field: "uscc", encoding: "DER_STRING" },
  ],
};
const WRAP_PERSON: Readonly<Record<CaKind, (id: string) => string>> = {
  sm2: (id) => `1@5009SF0${id}`,
  ecdsa: (id) => `SF${id}`,
};

const OID_SUBJECT_SERIAL_NUMBER = "2.5.4.5";

/** Opens the CA in `dataDir`, or makes it there. Needs the `openssl` command, version 3. */
export async function createCa(dataDir: string, kind: CaKind, options: { readonly clock: () => Date }): Promise<Ca> {
  const { clock } = options;
  const directory = join(dataDir, kind);
  if (!(await exists(directory))) await makeCa(directory, kind, clock());
  const rootAuthority = await openAuthority(kind, join(directory, "root"));
  const issuingAuthority = await openAuthority(kind, join(directory, "issuing"));
  const [root, issuing] = [onlyCertificate(rootAuthority.certPem), onlyCertificate(issuingAuthority.certPem)];
  const responder = {
    certificate: onlyCertificate(await readFile(join(directory, "responder", "certificate.pem"), "utf8")),
    key: readPrivateKey(await readFile(join(directory, "responder", "key.pem"), "utf8")),
  };
  const crls = { root: cacheCrl(rootAuthority, clock), issuing: cacheCrl(issuingAuthority, clock) };

  async function issue(input: IssueInput): Promise<IssuedCertificate> {
    const issued = await issuingAuthority.issue({
      subject: input.subject,
      extensions: leafExtensions(input),
      ...period(clock(), input.days),
    });
    const key = readPrivateKey(issued.keyPem);
    return {
      ...issued,
      chainPem: issued.certPem + issuingAuthority.certPem,
      privateKeyHex: key.kind === "sm2" ? key.privateKeyHex : undefined,
    };
  }

  return {
    kind,
    id: `sandbox-${kind}`,
    root,
    issuing,
    issue,
    enrol: (input) => issue(enrolment(kind, input)),
    async revoke(serial, reason = "unspecified") {
      const known = await issuingAuthority.revoke(serial, reason, clock());
      if (known) crls.issuing.forget();
      return known;
    },
    crl: (of = "issuing") => crls[of].get(),
    ocsp: (request) =>
      answerOcspRequest(request, { issuer: issuing, ledger: issuingAuthority.ledger(), responder, at: clock() }),
    profile: (baseUrl) => ({
      id: `sandbox-${kind}`,
      name: kind === "sm2" ? "沙箱国密 CA (SM2)" : "沙箱 CA (ECDSA)",
      anchors: [toBase64(root.der)],
      intermediates: [toBase64(issuing.der)],
      identity: {
        extensions: IDENTITY[kind],
        subject: IDENTITY[kind].map(({ field }) => ({ oid: OID_SUBJECT_SERIAL_NUMBER, field })),
      },
      revocation: {
        ocspUrl: `${baseUrl}/ocsp`,
        crlUrls: [`${baseUrl}/crl`, `${baseUrl}/root-crl`],
        ocspAgeMaxSeconds: 300,
        crlAgeMaxSeconds: CRL_LIFE_MS / 1000,
        ocspNonce: true,
      },
    }),
  };
}

/** Makes everything beside its final place, so that a start that was cut short leaves nothing half made. */
async function makeCa(directory: string, kind: CaKind, now: Date): Promise<void> {
  const draft = `${directory}.new`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(join(draft, "responder"), { recursive: true, mode: 0o700 });
  const organisation = "Fujie Sandbox";
  const title = kind === "sm2" ? "SM2" : "ECDSA";
  const ca = ["keyUsage = critical, keyCertSign, cRLSign", "subjectKeyIdentifier = hash"];
  const root = await makeAuthority(
    kind,
    join(draft, "root"),
    {
      subject: { organisation, commonName: `Fujie Sandbox ${title} Root` },
      extensions: ["basicConstraints = critical, CA:TRUE", ...ca],
      ...period(now, 20 * 365),
    },
    undefined,
  );
  const issuing = await makeAuthority(
    kind,
    join(draft, "issuing"),
    {
      subject: { organisation, commonName: `Fujie Sandbox ${title} Issuing CA` },
      extensions: ["basicConstraints = critical, CA:TRUE, pathlen:0", ...ca, AUTHORITY_KEY_ID],
      ...period(now, 10 * 365),
    },
    root,
  );
  const responder = await issuing.issue({
    subject: { organisation, commonName: `Fujie Sandbox ${title} OCSP Responder` },
    extensions: [
      ...END_ENTITY,
      "keyUsage = critical, digitalSignature",
      "extendedKeyUsage = critical, OCSPSigning",
      "noCheck = ignored",
    ],
    ...period(now, 5 * 365),
  });
  await writeFile(join(draft, "responder", "certificate.pem"), responder.certPem);
  await writeFile(join(draft, "responder", "key.pem"), responder.keyPem, { mode: 0o600 });
  await rename(draft, directory);
}

const AUTHORITY_KEY_ID = "authorityKeyIdentifier = keyid:always";
const END_ENTITY = ["basicConstraints = critical, CA:FALSE", "subjectKeyIdentifier = hash", AUTHORITY_KEY_ID];

function leafExtensions({ keyUsage = ["digitalSignature", "nonRepudiation"], identity = [] }: IssueInput): string[] {
  const extensions = identity.map(({ oid, value }) => `${oid} = ASN1:UTF8String:${value}`);
  const lines = [`keyUsage = critical, ${keyUsage.join(", ")}`, ...extensions];
  // These lines become an OpenSSL configuration, where `$`, `\` and line ends mean something else.
  if (lines.some((line) => !/^[\w .=,:@-]+$/.test(line))) throw new RangeError("an extension with special characters");
  return [...END_ENTITY, ...lines];
}

function enrolment(
  kind: CaKind,
  {
    kind: subjectKind,
    name,
    identifier,
    days,
  }: { kind: EnrolmentKind; name: string; identifier: string; days: number },
): IssueInput {
  const [person, organisation] = IDENTITY[kind];
  const subject = { commonName: name, serialNumber: identifier };
  if (subjectKind === "person") {
    return { subject, days, identity: [{ oid: person.oid, value: WRAP_PERSON[kind](identifier) }] };
  }
  if (subjectKind === "organisation") {
    return {
      subject: { ...subject, organisation: name },
      days,
      identity: [{ oid: organisation.oid, value: identifier }],
    };
  }
  // An operator is bound by the certificate itself: it says nothing about a real-name identity.
  return { subject: { ...subject, organisationalUnit: "Operators" }, days };
}

function period(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now.getTime() - BACKDATE_MS), notAfter: new Date(now.getTime() + days * DAY_MS) };
}

/** A list is made when asked for, and again when half of its life is over or something was revoked. */
function cacheCrl(authority: Authority, clock: () => Date): { get(): Promise<Uint8Array>; forget(): void } {
  let current: { list: Promise<Uint8Array>; until: number } | undefined;
  return {
    get() {
      const now = clock();
      if (current === undefined || current.until <= now.getTime()) {
        const made = {
          list: authority.makeCrl(now, new Date(now.getTime() + CRL_LIFE_MS)),
          until: now.getTime() + CRL_LIFE_MS / 2,
        };
        current = made;
        made.list.catch(() => {
          if (current === made) current = undefined;
        });
      }
      return current.list;
    },
    forget() {
      current = undefined;
    },
  };
}

function onlyCertificate(pem: string): Certificate {
  const [bytes] = certificatesFromPem(pem);
  if (bytes === undefined) throw new Error("a file of the sandbox CA holds no certificate");
  return parseCertificate(bytes);
}

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
