/** Makes the certificates of the local authority. */
import { KeyObject, randomBytes, webcrypto, type X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
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
import type { IdentityFiles } from "./identity.ts";

export interface Authority {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };
const SIGNING_ALGORITHM = { name: "ECDSA", hash: "SHA-256" };
const AUTHORITY_NAME = "CN=Fujie local authority";
const DAY_MS = 86_400_000;
const CA_LIFE_MS = 3_650 * DAY_MS;
const SERVICE_LIFE_MS = 90 * DAY_MS;
/** Certificates begin a little in the past, for machines whose clocks are behind. */
const BACKDATE_MS = 5 * 60_000;

export async function makeAuthority(dir: string, authorityDir: string, nowMs: number): Promise<void> {
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

export async function issue(
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
    signingKey: authority.key.toCryptoKey(KEY_ALGORITHM, false, ["sign"]),
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
