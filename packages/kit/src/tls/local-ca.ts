/**
 * The certificate authority of the embedded default: made at first start, so that services on one machine talk mutual
 * TLS exactly as they do in production.
 *
 *   <dir>/authority/{ca.pem, ca.key}    the authority, 10 years
 *   <dir>/<name>.{pem, key}             a service, 90 days, renewed when less than a third is left
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import type { JsonGeneralNames } from "@peculiar/x509";
import { type Clock, systemClock } from "../clock/index.ts";
import { IdentityError, type IdentityFiles } from "./identity.ts";
import type { Authority } from "./issue.ts";
import { peerNameFromCertificate, peerUri } from "./peer-name.ts";

export interface LocalCa {
  readonly caFile: string;
  /**
   * The files of that service's identity, made or renewed when they are missing, damaged, for other hosts, or have
   * less than a third of their life left. `hosts` are DNS names or IP addresses beside localhost, 127.0.0.1 and ::1.
   */
  issueService(name: string, options?: { readonly hosts?: readonly string[] }): Promise<IdentityFiles>;
}

const SERVICE_NAME = /^[a-z][a-z0-9-]{0,62}$/;
const LOCAL_HOSTS: readonly string[] = ["localhost", "127.0.0.1", "::1"];

/** Opens the authority in `dir`, or makes it. Throws IdentityError when it is damaged or has expired. */
export async function createLocalCa(
  dir: string,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): Promise<LocalCa> {
  const authorityDir = join(dir, "authority");
  const caFile = join(authorityDir, "ca.pem");
  if (!existsSync(caFile)) await (await issuing()).makeAuthority(dir, authorityDir, clock.nowMs());
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
        await (await issuing()).issue(files, name, names, authority, clock.nowMs());
      }
      return files;
    },
  };
}

/** Loaded when a certificate is to be made: no service needs it, and it is a fifth of what a service loads. */
const issuing = () => import("./issue.ts");

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
  return { certificate, key: privateKey };
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
