/**
 * The certificate authority of the embedded default: made at first start, so that services on one machine talk mutual
 * TLS exactly as they do in production.
 *
 *   <dir>/authority/{ca.pem, ca.key}    the authority, 10 years
 *   <dir>/<name>.{pem, key}             a service, 90 days, renewed when less than a third is left
 */
import { createPrivateKey, KeyObject, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
// @peculiar/x509 keeps its registries by reflection metadata and wants the polyfill first.
import "reflect-metadata";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { type Clock, systemClock } from "../clock/index.ts";
import { IdentityError, type IdentityFiles } from "./identity.ts";
import { peerNameFromCertificate, peerUri } from "./peer-name.ts";

export interface LocalCa {
  readonly caFile: string;
  /**
   * The files of that service's identity, made or renewed when they are missing, damaged, for other hosts, or have
   * less than a third of their life left. `hosts` are DNS names or IP addresses beside localhost, 127.0.0.1 and ::1.
   */
  issueService(name: string, options?: { readonly hosts?: readonly string[] }): Promise<IdentityFiles>;
}

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };
const SIGNING_ALGORITHM = { name: "ECDSA", hash: "SHA-256" };
const AUTHORITY_NAME = "CN=Fujie local authority";
const DAY_MS = 86_400_000;
const CA_LIFE_MS = 3_650 * DAY_MS;
const SERVICE_LIFE_MS = 90 * DAY_MS;
/** Certificates begin a little in the past, for machines whose clocks are behind. */
const BACKDATE_MS = 5 * 60_000;
const SERVICE_NAME = /^[a-z][a-z0-9-]{0,62}$/;
const LOCAL_HOSTS: readonly string[] = ["localhost", "127.0.0.1", "::1"];

/** Opens the authority in `dir`, or makes it. Throws IdentityError when it is damaged or has expired. */
export async function createLocalCa(
  dir: string,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): Promise<LocalCa> {
  const authorityDir = join(dir, "authority");
  const caFile = join(authorityDir, "ca.pem");
  if (!existsSync(caFile)) await makeAuthority(dir, authorityDir, clock.nowMs());
  const authority = await openAuthority(authorityDir);
  const expiresAtMs = authority.certificate.validToDate.getTime();
  if (expiresAtMs <= clock.nowMs()) throw new IdentityError(`${caFile} has expired`);

  return {
    caFile,
    async issueService(name, { hosts = [] } = {}) {
      if (!SERVICE_NAME.test(name)) throw new IdentityError("a service's name is lower case, digits and dashes");
      const files = { certFile: join(dir, `${name}.pem`), keyFile: join(dir, `${name}.key`), caFile };
      const names = namesOf(name, hosts);
      if (!stillServes(files, name, names, authority.certificate, clock.nowMs())) {
        await issue(files, name, names, authority, clock.nowMs());
      }
      return files;
    },
  };
}

interface Authority {
  readonly certificate: X509Certificate;
  readonly key: webcrypto.CryptoKey;
}

async function makeAuthority(dir: string, authorityDir: string, nowMs: number): Promise<void> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerialNumber(),
    name: AUTHORITY_NAME,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + CA_LIFE_MS),
    signingAlgorithm: SIGNING_ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  // Made aside and moved in one step: of two processes that start at once, the second finds the first one's.
  const temporaryDir = join(dir, `authority.${process.pid}.${randomBytes(4).toString("hex")}`);
  mkdirSync(temporaryDir, { recursive: true, mode: 0o700 });
  writeFileSync(join(temporaryDir, "ca.key"), await pemOfKey(keys.privateKey), { mode: 0o600 });
  writeFileSync(join(temporaryDir, "ca.pem"), `${certificate.toString("pem")}\n`, { mode: 0o644 });
  try {
    renameSync(temporaryDir, authorityDir);
  } catch (error) {
    rmSync(temporaryDir, { recursive: true });
    if (!existsSync(join(authorityDir, "ca.pem"))) throw error;
  }
}

async function openAuthority(authorityDir: string): Promise<Authority> {
  const [certFile, keyFile] = [join(authorityDir, "ca.pem"), join(authorityDir, "ca.key")];
  const certificate = new X509Certificate(readFileSync(certFile));
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(readFileSync(keyFile));
  } catch {
    throw new IdentityError(`${keyFile} is not a private key in PEM`);
  }
  if (!certificate.checkPrivateKey(privateKey)) throw new IdentityError(`${keyFile} is not the key of ${certFile}`);
  return { certificate, key: privateKey.toCryptoKey(KEY_ALGORITHM, false, ["sign"]) };
}

async function issue(
  files: IdentityFiles,
  name: string,
  names: JsonGeneralNames,
  authority: Authority,
  nowMs: number,
): Promise<void> {
  const keys = await generateKeys();
  const caPublicKey = await webcrypto.subtle.importKey(
    "spki",
    authority.certificate.publicKey.export({ format: "der", type: "spki" }),
    KEY_ALGORITHM,
    true,
    ["verify"],
  );
  const certificate = await X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject: `CN=${name}`,
    issuer: AUTHORITY_NAME,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(Math.min(nowMs + SERVICE_LIFE_MS, authority.certificate.validToDate.getTime())),
    signingAlgorithm: SIGNING_ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
      new SubjectAlternativeNameExtension(names),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(caPublicKey),
    ],
  });
  // The two files cannot change in one step; loadIdentity waits for the pair that fits.
  replace(files.keyFile, await pemOfKey(keys.privateKey), 0o600);
  replace(files.certFile, `${certificate.toString("pem")}\n`, 0o644);
}

function stillServes(
  { certFile, keyFile }: IdentityFiles,
  name: string,
  names: JsonGeneralNames,
  authority: X509Certificate,
  nowMs: number,
): boolean {
  if (!existsSync(certFile) || !existsSync(keyFile)) return false;
  try {
    const certificate = new X509Certificate(readFileSync(certFile));
    const [fromMs, toMs] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
    return (
      certificate.checkPrivateKey(createPrivateKey(readFileSync(keyFile))) &&
      certificate.verify(authority.publicKey) &&
      peerNameFromCertificate(certificate) === name &&
      names.every(({ type, value }) => type === "url" || coversHost(certificate, value)) &&
      toMs - nowMs >= (toMs - fromMs) / 3
    );
  } catch {
    // Not a certificate or key any more: a new pair replaces it.
    return false;
  }
}

function coversHost(certificate: X509Certificate, host: string): boolean {
  const covered = isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host);
  return covered !== undefined;
}

function namesOf(name: string, hosts: readonly string[]): JsonGeneralNames {
  const all = [...new Set([...LOCAL_HOSTS, ...hosts])];
  return [
    { type: "url", value: peerUri(name) },
    ...all.map((host): JsonGeneralNames[number] => ({ type: isIP(host) === 0 ? "dns" : "ip", value: host })),
  ];
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
}

async function pemOfKey(key: webcrypto.CryptoKey): Promise<string> {
  return KeyObject.from(key).export({ format: "pem", type: "pkcs8" }).toString();
}

/** Positive, 127 bits (RFC 5280 §4.1.2.2 allows 20 octets). */
function newSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function replace(file: string, text: string, mode: number): void {
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString("hex")}`;
  writeFileSync(temporary, text, { mode, flag: "wx" });
  renameSync(temporary, file);
}
