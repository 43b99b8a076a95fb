/** `fujie conform source`: the published suite against any implementation of fujie.source.v1 (SZ-9, SZ-12). */
import { createPublicKey, type KeyObject, randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  type CaseReport,
  encodeReport,
  NONCE_FORM,
  openControl,
  type RunOptions,
  readSubjects,
  renderReportPage,
  runSuite,
  SubjectsError,
  signReport,
  testerKeyIdOf,
} from "@fujie/conformance";
import { systemClock } from "@fujie/kit/clock";
import { requireOption, UsageError } from "../commands/usage.ts";
import { readPem, readTesterKey, readText } from "./tester-keys.ts";

const AUDIENCE = "fujie-trust-gateway";
const RESULT_MARKS: Readonly<Record<CaseReport["result"], string>> = { PASSED: "✓", FAILED: "✗", NOT_APPLICABLE: "–" };

export async function conformSource(args: readonly string[], write: (line: string) => void): Promise<number> {
  const { options, testerKey, reportDir } = readOptions(args);
  write(`Testing ${options.sourceId} at ${options.endpoint} against fujie.source.v1`);
  const report = await runSuite({ ...options, onCase: (one) => write(lineOf(one)) });
  const bytes = encodeReport(report);
  mkdirSync(reportDir, { recursive: true });
  writeFileSync(join(reportDir, "report.json"), bytes);
  writeFileSync(join(reportDir, "report.sig"), `${JSON.stringify(signReport(bytes, testerKey))}\n`);
  writeFileSync(join(reportDir, "report.html"), renderReportPage(report));

  const count = (result: CaseReport["result"]) => report.cases.filter((one) => one.result === result).length;
  write(`\n${count("PASSED")} passed, ${count("FAILED")} failed, ${count("NOT_APPLICABLE")} not applicable`);
  write(`${report.verdict}: the report is in ${reportDir} (report.json, report.sig, report.html)`);
  return report.verdict === "PASSED" ? 0 : 1;
}

function lineOf({ id, title, result, reason, detail, milliseconds }: CaseReport): string {
  const more = detail === "" ? reason : detail;
  return `  ${RESULT_MARKS[result]} ${id}: ${title} (${milliseconds} ms)${more === "" ? "" : `\n      ${more}`}`;
}

interface Ready {
  readonly options: Omit<RunOptions, "onCase">;
  readonly testerKey: KeyObject;
  readonly reportDir: string;
}

/** Everything is read and checked before the first call. Throws UsageError. */
function readOptions(args: readonly string[]): Ready {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      nonce: { type: "string" },
      "source-id": { type: "string" },
      "peer-name": { type: "string" },
      audience: { type: "string", default: AUDIENCE },
      "tls-ca": { type: "string" },
      "client-cert": { type: "string" },
      "client-key": { type: "string" },
      "other-client-cert": { type: "string" },
      "other-client-key": { type: "string" },
      "assertion-key": { type: "string", multiple: true, default: [] },
      claims: { type: "string" },
      "tester-key": { type: "string" },
      "report-dir": { type: "string" },
      control: { type: "string" },
      stress: { type: "boolean", default: false },
    },
  });
  const [endpoint, ...more] = positionals;
  if (endpoint === undefined || more.length > 0) throw new UsageError("fujie conform source HOST:PORT …");
  const sourceId = matching(values["source-id"], "source-id", /^[a-z0-9][a-z0-9-]{0,62}$/);
  const testerKey = readTesterKey(requireOption(values["tester-key"], "tester-key"));
  const { "other-client-cert": otherCert, "other-client-key": otherKey } = values;
  const options = {
    endpoint: matching(endpoint, "endpoint", /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-f:]{2,39}\]):\d{1,5}$/),
    sourceId,
    peerName: matching(values["peer-name"] ?? sourceId, "peer-name", /^[a-z][a-z0-9-]{0,62}$/),
    nonce: matching(values.nonce, "nonce", NONCE_FORM),
    audience: matching(values.audience, "audience", /^[\x21-\x7e]{1,128}$/),
    ca: readText(requireOption(values["tls-ca"], "tls-ca")),
    client: {
      cert: readText(requireOption(values["client-cert"], "client-cert")),
      key: readText(requireOption(values["client-key"], "client-key")),
    },
    otherClient:
      otherCert === undefined || otherKey === undefined
        ? undefined
        : { cert: readText(otherCert), key: readText(otherKey) },
    assertionKeys: readAssertionKeys(values["assertion-key"]),
    subjects: readClaims(requireOption(values.claims, "claims")),
    control: values.control === undefined ? undefined : openControl(values.control),
    stress: values.stress,
    testerKeyId: testerKeyIdOf(createPublicKey(testerKey)),
    clock: systemClock,
    sleep: async (ms: number) => {
      await sleep(ms);
    },
    randomBytes: (size: number) => new Uint8Array(randomBytes(size)),
  };
  return { options, testerKey, reportDir: requireOption(values["report-dir"], "report-dir") };
}

function matching(value: string | undefined, name: string, form: RegExp): string {
  const text = requireOption(value, name);
  if (!form.test(text)) throw new UsageError(`--${name} is not of its form (see: fujie conform help)`);
  return text;
}

/** `key-id=file.pem`, each an EC key on P-256. */
function readAssertionKeys(pairs: readonly string[]): ReadonlyMap<string, KeyObject> {
  const keys = pairs.map((pair) => {
    const split = pair.indexOf("=");
    const file = pair.slice(split + 1);
    if (split < 1 || file === "") throw new UsageError("--assertion-key is ID=FILE");
    const key = readPem(file, createPublicKey);
    if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new UsageError(`${file} is not a key on P-256`);
    return [pair.slice(0, split), key] as const;
  });
  if (keys.length === 0) throw new UsageError("--assertion-key is missing (see: fujie conform help)");
  return new Map(keys);
}

function readClaims(file: string) {
  try {
    return readSubjects(readText(file));
  } catch (error) {
    if (error instanceof SubjectsError) throw new UsageError(`${file}: ${error.message}`);
    throw error;
  }
}
