import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { createLocalCa } from "@fujie/kit/tls";
import type { Bench } from "../bench.ts";
import { fail, failIfAny, notApplicable } from "../outcome.ts";
import { type ClientIdentity, openWire, type StatusName } from "../wire.ts";
import type { SuiteCase } from "./case.ts";

/** How a stranger's call may end. */
const REFUSALS: ReadonlySet<StatusName> = new Set(["UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED"]);
const PROBE_MS = 5_000;

/** The first of all cases: without it nothing else can be tested. */
export const REACHABLE = "transport.mutual-tls";

export const transportCases: readonly SuiteCase[] = [
  {
    id: REACHABLE,
    title: {
      en: "Answers Describe over mutual TLS, with a certificate that names the source",
      zh: "通过双向 TLS 应答 Describe，证书标明该信任源",
    },
    requirement: "SZ-9",
    run: async (bench) => {
      await bench.described();
      return undefined;
    },
  },
  {
    id: "transport.no-client-certificate",
    title: { en: "Refuses a caller without a certificate", zh: "拒绝没有证书的调用方" },
    requirement: "SZ-9",
    run: (bench) => refusesStranger(bench, bench.options.ca, undefined),
  },
  {
    id: "transport.foreign-client-certificate",
    title: {
      en: "Refuses the platform's name in a certificate of another authority",
      zh: "拒绝由其他机构签发、冒用平台名称的证书",
    },
    requirement: "SZ-9",
    run: async (bench) => refusesStranger(bench, bench.options.ca, await forgeIdentity()),
  },
  {
    id: "transport.other-client-name",
    title: {
      en: "Refuses another service with a certificate of the platform's authority",
      zh: "拒绝平台机构签发给其他服务的证书",
    },
    requirement: "SZ-9",
    run: async (bench) => {
      const { otherClient, ca } = bench.options;
      if (otherClient === undefined) return notApplicable("no certificate of another service was given");
      return refusesStranger(bench, ca, otherClient);
    },
  },
  {
    id: "transport.clear-text",
    title: { en: "Refuses clear text", zh: "拒绝明文连接" },
    requirement: "SZ-9",
    run: (bench) => refusesStranger(bench, undefined, undefined),
  },
  {
    id: "transport.tls-version",
    title: { en: "Refuses TLS older than 1.2", zh: "拒绝低于 1.2 的 TLS 版本" },
    requirement: "SZ-9",
    run: async (bench) => {
      const end = await offerOldTls(bench);
      if (end === "connected") return fail("a TLS 1.1 connection was accepted");
      return end === "not offered" ? fail("this machine cannot offer TLS 1.1, so that nothing was tested") : undefined;
    },
  },
];

async function refusesStranger(bench: Bench, ca: string | undefined, client: ClientIdentity | undefined) {
  const { endpoint, peerName } = bench.options;
  const request = await bench.newCheck();
  using wire = openWire({ endpoint, peerName, ca, client });
  const answers = {
    Describe: await wire.describe({ timeoutMs: PROBE_MS }),
    Check: await wire.check(request, { timeoutMs: PROBE_MS }),
  };
  failIfAny(
    Object.entries(answers).flatMap(([method, { code }]) =>
      REFUSALS.has(code) ? [] : [`${method} ended with ${code}`],
    ),
  );
  return undefined;
}

/** A certificate that names the platform's gateway, by an authority that nobody knows. */
async function forgeIdentity(): Promise<ClientIdentity> {
  const dir = mkdtempSync(join(tmpdir(), "fujie-foreign-"));
  try {
    const ca = await createLocalCa(dir);
    const { certFile, keyFile } = await ca.issueService("trust-gateway");
    return { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function offerOldTls({ options: { endpoint, client } }: Bench): Promise<"connected" | "refused" | "not offered"> {
  const colon = endpoint.lastIndexOf(":");
  const host = endpoint.slice(0, colon).replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    const socket = connect({
      host,
      port: Number(endpoint.slice(colon + 1)),
      ...client,
      minVersion: "TLSv1.1",
      maxVersion: "TLSv1.1",
      // OpenSSL offers its old versions at no other level.
      ciphers: "DEFAULT@SECLEVEL=0",
      ALPNProtocols: ["h2"],
      // Whose certificate it is does not matter here: a connection at all is the fault.
      rejectUnauthorized: false,
    });
    const end = (result: "connected" | "refused" | "not offered") => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(PROBE_MS, () => end("refused"));
    socket.once("secureConnect", () => end("connected"));
    socket.once("close", () => end("refused"));
    socket.once("error", (error) => {
      const code = "code" in error ? String(error.code) : "";
      end(/NO_PROTOCOLS_AVAILABLE|NO_CIPHERS|ECONNREFUSED|ENOTFOUND/.test(code) ? "not offered" : "refused");
    });
  });
}
