/**
 * One certificate authority on disk, driven through `openssl ca`: a key, a certificate, an index of what it issued and a
 * CRL number. The root and the issuing CA of each sandbox CA are one of these.
 */
import { randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  certificatesFromPem,
  parseCertificate,
  REVOCATION_REASONS,
  type Revocation,
  type RevocationReason,
} from "@fujie/certificates";
import { OpensslError, runOpenssl } from "./openssl.ts";

export type CaKind = "ecdsa" | "sm2";

/** How keys are made and things are signed. The signer id is the default one, or other software refuses the signature. */
const KEY_ARGS: Readonly<Record<CaKind, readonly string[]>> = {
  ecdsa: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256"],
  sm2: ["-newkey", "sm2", "-sm3", "-sigopt", "distid:1234567812345678"],
};
const SIGN_ARGS: Readonly<Record<CaKind, readonly string[]>> = {
  ecdsa: ["-md", "sha256"],
  sm2: ["-md", "sm3", "-sigopt", "distid:1234567812345678", "-vfyopt", "distid:1234567812345678"],
};

const CONFIG = `[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = issued
certificate = certificate.pem
private_key = key.pem
crlnumber = crlnumber
rand_serial = yes
unique_subject = no
email_in_dn = no
copy_extensions = none
default_md = default
policy = policy
crl_extensions = crl
[policy]
countryName = optional
organizationName = optional
organizationalUnitName = optional
serialNumber = optional
commonName = supplied
[crl]
authorityKeyIdentifier = keyid:always
`;

export type SubjectName = {
  readonly commonName: string;
  readonly organisation?: string;
  readonly organisationalUnit?: string;
  readonly serialNumber?: string;
};

export type Issuance = {
  readonly subject: SubjectName;
  /** Lines of an OpenSSL extension section, e.g. `keyUsage = critical, digitalSignature`. */
  readonly extensions: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
};

export type Issued = { readonly certPem: string; readonly keyPem: string; readonly serial: string };

/** What the index says of one certificate. */
export type LedgerEntry = { readonly revoked: Revocation | undefined };

export type Authority = {
  readonly kind: CaKind;
  readonly directory: string;
  readonly certPem: string;
  /** By serial number, lower-case hexadecimal without leading zero bytes. */
  ledger(): ReadonlyMap<string, LedgerEntry>;
  issue(issuance: Issuance): Promise<Issued>;
  /** False when no such certificate is out. Revoking again changes nothing. */
  revoke(serial: string, reason: RevocationReason, at: Date): Promise<boolean>;
  /** DER of a fresh list. */
  makeCrl(thisUpdate: Date, nextUpdate: Date): Promise<Uint8Array>;
};

/** Makes the files of an authority whose certificate `parent` issues; without a parent it is a self-signed root. */
export async function makeAuthority(
  kind: CaKind,
  directory: string,
  issuance: Issuance,
  parent: Authority | undefined,
): Promise<Authority> {
  await mkdir(join(directory, "issued"), { recursive: true, mode: 0o700 });
  await writeFile(join(directory, "openssl.cnf"), CONFIG);
  await writeFile(join(directory, "index.txt"), "");
  await writeFile(join(directory, "crlnumber"), "01\n");
  if (parent === undefined) {
    await makeRequest(kind, directory, issuance.subject, "key.pem", "request.pem");
    const args = ["-selfsign", "-keyfile", "key.pem", "-in", "request.pem", "-out", "certificate.pem"];
    await signRequest(kind, directory, issuance, args);
    await rm(join(directory, "request.pem"));
  } else {
    const { certPem, keyPem } = await parent.issue(issuance);
    await writeFile(join(directory, "key.pem"), keyPem, { mode: 0o600 });
    await writeFile(join(directory, "certificate.pem"), certPem);
  }
  return openAuthority(kind, directory);
}

/** Opens an authority that `makeAuthority` made. */
export async function openAuthority(kind: CaKind, directory: string): Promise<Authority> {
  const certPem = await readFile(join(directory, "certificate.pem"), "utf8");
  let ledger = await readLedger(directory);
  const inTurn = makeQueue();
  return {
    kind,
    directory,
    certPem,
    ledger: () => ledger,
    async issue(issuance) {
      const job = randomUUID();
      const [key, request, certificate] = [`${job}.key`, `${job}.csr`, `${job}.crt`];
      try {
        await makeRequest(kind, directory, issuance.subject, key, request);
        await inTurn(() => signRequest(kind, directory, issuance, ["-in", request, "-out", certificate]));
        ledger = await readLedger(directory);
        const certPem = await readFile(join(directory, certificate), "utf8");
        const keyPem = await readFile(join(directory, key), "utf8");
        return { certPem, keyPem, serial: serialOf(certPem) };
      } finally {
        await Promise.all([key, request, certificate].map((file) => rm(join(directory, file), { force: true })));
      }
    },
    revoke: (serial, reason, at) =>
      inTurn(async () => {
        const entry = ledger.get(serial);
        if (entry === undefined || entry.revoked !== undefined) return entry !== undefined;
        await markRevoked(directory, serial, reason, at);
        ledger = await readLedger(directory);
        return true;
      }),
    makeCrl: (thisUpdate, nextUpdate) =>
      inTurn(async () => {
        const times = ["-crl_lastupdate", opensslTime(thisUpdate), "-crl_nextupdate", opensslTime(nextUpdate)];
        const pem = await runOpenssl(directory, [
          "ca",
          "-config",
          "openssl.cnf",
          "-gencrl",
          ...times,
          ...SIGN_ARGS[kind],
        ]);
        return Uint8Array.from(Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64"));
      }),
  };
}

async function makeRequest(
  kind: CaKind,
  directory: string,
  subject: SubjectName,
  keyFile: string,
  requestFile: string,
) {
  const files = ["-nodes", "-keyout", keyFile, "-out", requestFile];
  await runOpenssl(directory, ["req", "-new", ...KEY_ARGS[kind], ...files, "-utf8", "-subj", subjectText(subject)]);
  await chmod(join(directory, keyFile), 0o600);
}

async function signRequest(kind: CaKind, directory: string, issuance: Issuance, args: readonly string[]) {
  const extensionFile = `${randomUUID()}.ext`;
  await writeFile(join(directory, extensionFile), `[extensions]\n${issuance.extensions.join("\n")}\n`);
  const times = ["-startdate", opensslTime(issuance.notBefore), "-enddate", opensslTime(issuance.notAfter)];
  const extensions = ["-extfile", extensionFile, "-extensions", "extensions"];
  const all = [
    "ca",
    "-config",
    "openssl.cnf",
    "-batch",
    "-notext",
    ...SIGN_ARGS[kind],
    ...times,
    ...extensions,
    ...args,
  ];
  await runOpenssl(directory, all).finally(() => rm(join(directory, extensionFile)));
}

/** `openssl ca` rewrites its index: one at a time. */
function makeQueue() {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(task: () => Promise<T>): Promise<T> => {
    const next = last.then(task, task);
    last = next.catch(() => undefined);
    return next;
  };
}

function subjectText({ organisation, organisationalUnit, serialNumber, commonName }: SubjectName): string {
  const attributes = { C: "CN", O: organisation, OU: organisationalUnit, serialNumber, CN: commonName };
  return Object.entries(attributes)
    .flatMap(([key, value]) => (value === undefined ? [] : [`/${key}=${escapeValue(value)}`]))
    .join("");
}

/** `/`, `+` and `\` would otherwise begin another attribute. */
const escapeValue = (value: string): string => value.replace(/[\\/+=]/g, "\\$&");

const opensslTime = (at: Date): string => `${at.toISOString().slice(0, 19).replace(/[-T:]/g, "")}Z`;

const normaliseSerial = (hex: string): string => hex.toLowerCase().replace(/^(?:00)+/, "");

/** Columns of index.txt: status, expiry, revocation time and reason, serial number, file, subject. */
async function readLedger(directory: string): Promise<ReadonlyMap<string, LedgerEntry>> {
  const lines = (await readFile(join(directory, "index.txt"), "utf8")).split("\n").filter((line) => line !== "");
  return new Map(
    lines.map((line) => {
      const [status, , revocation = "", serial = ""] = line.split("\t");
      return [normaliseSerial(serial), { revoked: status === "R" ? readIndexRevocation(revocation) : undefined }];
    }),
  );
}

function readIndexRevocation(column: string): Revocation {
  const [time = "", name] = column.split(",");
  const at = new Date(`20${time}`.replace(/^(....)(..)(..)(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6.000Z"));
  return { at, reason: REVOCATION_REASONS.find((reason) => reason === name) ?? "unspecified" };
}

/** Edits the index as `openssl ca -revoke` does, which would take the time from the machine's clock. */
async function markRevoked(directory: string, serial: string, reason: RevocationReason, at: Date): Promise<void> {
  const file = join(directory, "index.txt");
  const lines = (await readFile(file, "utf8")).split("\n").map((line) => {
    const [, expiry, , number = "", ...rest] = line.split("\t");
    if (normaliseSerial(number) !== serial) return line;
    return ["R", expiry, `${opensslTime(at).slice(2)},${reason}`, number, ...rest].join("\t");
  });
  await writeFile(`${file}.new`, lines.join("\n"));
  await rename(`${file}.new`, file);
}

function serialOf(certPem: string): string {
  const [bytes] = certificatesFromPem(certPem);
  if (bytes === undefined) throw new OpensslError("openssl ca gave no certificate");
  return parseCertificate(bytes).serial;
}
