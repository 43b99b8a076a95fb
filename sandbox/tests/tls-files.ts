import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsFiles } from "../src/partner/source.ts";

const EXTENSIONS = (names: string) => `subjectAltName = ${names}\nbasicConstraints = critical, CA:FALSE\n`;

export type TlsAuthority = {
  readonly caFile: string;
  /** Issues a certificate for subject alternative names in OpenSSL's spelling, e.g. "URI:spiffe://fujie/x". */
  issue(file: string, names: string): TlsFiles;
};

/** An authority for mutual TLS, with real certificates made by OpenSSL in `dir`. */
export function makeTlsAuthority(dir: string, name: string): TlsAuthority {
  const openssl = (...args: string[]) =>
    execFileSync("openssl", args, { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const own = ["-subj", `/CN=${name}`, "-days", "2", "-keyout", `${name}.key`, "-out", `${name}.pem`];
  openssl("req", "-x509", ...newKey, ...own);
  return {
    caFile: join(dir, `${name}.pem`),
    issue(file, names) {
      openssl("req", "-new", ...newKey, "-subj", `/CN=${file}`, "-keyout", `${file}.key`, "-out", `${file}.csr`);
      writeFileSync(join(dir, `${file}.ext`), EXTENSIONS(names));
      const signer = ["-CA", `${name}.pem`, "-CAkey", `${name}.key`, "-CAcreateserial", "-days", "1"];
      openssl("x509", "-req", "-in", `${file}.csr`, ...signer, "-extfile", `${file}.ext`, "-out", `${file}.pem`);
      return {
        certFile: join(dir, `${file}.pem`),
        keyFile: join(dir, `${file}.key`),
        caFile: join(dir, `${name}.pem`),
      };
    },
  };
}
