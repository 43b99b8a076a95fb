/** `fujie conform submit`: hands a signed report in at the registry, as the tool wrote it (SZ-12). */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { SourceService } from "@fujie/api/fujie/registry/v1/sources";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { parseSignature, ReportError } from "@fujie/conformance";
import type { Clock } from "@fujie/kit/clock";
import { requireOption, UsageError } from "../commands/usage.ts";
import { readBytes, readText } from "./tester-keys.ts";

const DAY_MS = 86_400_000;
/** What the registry takes. */
const VALID_DAYS_MAX = 732;
const TIMEOUT_MS = 30_000;

const USAGE =
  "fujie conform submit report.json --registry URL --token-file FILE --source-id ID --tester-id ID [--sig FILE] [--valid-days N]";

/** 0: the registry keeps it and it says passed; 1: it keeps it as failed, or refuses it. Throws UsageError. */
export async function submitReport(
  args: readonly string[],
  write: (line: string) => void,
  clock: Pick<Clock, "nowMs">,
): Promise<number> {
  const { registry, token, request } = readOptions(args, clock);
  const transport = createConnectTransport({ baseUrl: registry, httpVersion: "1.1", defaultTimeoutMs: TIMEOUT_MS });
  const sources = createClient(SourceService, transport);
  try {
    const { passed } = await sources.submitSourceTest(request, { headers: { authorization: `Bearer ${token}` } });
    write(`${passed ? "PASSED" : "FAILED"}: the registry keeps the report of ${request.sourceId}`);
    return passed ? 0 : 1;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const reason = error.findDetails(ErrorInfoSchema)[0]?.reason;
    write(`REFUSED: ${reason === undefined ? "" : `${reason}: `}${error.rawMessage}`);
    return 1;
  }
}

/** Everything is read and checked before the call. */
function readOptions(args: readonly string[], clock: Pick<Clock, "nowMs">) {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      sig: { type: "string" },
      registry: { type: "string" },
      "token-file": { type: "string" },
      "source-id": { type: "string" },
      "tester-id": { type: "string" },
      "valid-days": { type: "string", default: "365" },
    },
  });
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageError(USAGE);
  const registry = requireOption(values.registry, "registry").replace(/\/$/, "");
  if (!/^https?:\/\//.test(registry) || !URL.canParse(registry)) throw new UsageError("--registry is not a URL");
  const days = Number(values["valid-days"]);
  if (!(Number.isSafeInteger(days) && days >= 1 && days <= VALID_DAYS_MAX)) {
    throw new UsageError(`--valid-days is not 1 to ${VALID_DAYS_MAX}`);
  }
  const request = {
    sourceId: requireOption(values["source-id"], "source-id"),
    testerId: requireOption(values["tester-id"], "tester-id"),
    report: new Uint8Array(readBytes(file)),
    signature: readSignature(values.sig ?? join(dirname(file), "report.sig")),
    expireTime: timestampFromMs(clock.nowMs() + days * DAY_MS),
  };
  return { registry, token: readToken(requireOption(values["token-file"], "token-file")), request };
}

/** Of report.sig the 64 bytes that the registry verifies. */
function readSignature(file: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(Buffer.from(parseSignature(readText(file)).signature, "base64url"));
  } catch (error) {
    if (error instanceof ReportError) throw new UsageError(`${file}: ${error.message}`);
    throw error;
  }
}

function readToken(file: string): string {
  const token = (file === "-" ? readFileSync(0, "utf8") : readText(file)).trim();
  if (!/^[\x21-\x7e]+$/.test(token)) throw new UsageError("the token file does not hold a token");
  return token;
}
