/** A stock Python client of the gRPC API: stubs by protoc from the published descriptor set, Debian's grpcio. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { NAMED_PEOPLE } from "@fujie/sandbox/people";
import { writeDescriptorSet } from "../../../../scripts/descriptor-set.ts";
import { LEGAL_BASIS, PURPOSE } from "../../src/journey/chapters/ceremony.ts";

/** Debian's own Python, which sees Debian's modules; another may come first on the PATH. */
export const PYTHON = "/usr/bin/python3";

const TIMEOUT_MS = 30_000;

export interface PythonVisit {
  /** gRPC targets, "host:port". */
  readonly grpcTargets: Readonly<Record<"auth" | "trust-gateway" | "audit", string>>;
  /** PEM of the authority that issued the services' certificates. */
  readonly caFile: string;
  /** An application's access token with `trust.verify`. */
  readonly token: string;
}

export interface PythonRefusal {
  readonly code: string;
  readonly reason: string;
  readonly fields: readonly string[];
  readonly traceId: string;
  readonly messages: Readonly<Record<string, string>>;
}

/** What the client learnt (visit.py). */
export interface PythonReport {
  readonly whoAmI: { readonly kind: string; readonly clientId: string; readonly scopes: readonly string[] };
  readonly checkpoint: string;
  readonly verify: { readonly verificationId: string; readonly outcome: string; readonly level: number };
  readonly sameAnswerForSameRequestId: boolean;
  readonly withoutToken: PythonRefusal | null;
  readonly withoutFields: PythonRefusal | null;
  /** The code that a clear-text channel ended with. */
  readonly withoutTls: string;
}

/**
 * Makes Python stubs and visits the services with them: WhoAmI, GetCheckpoint, Verify (twice with one request_id, on
 * the journey's purpose and legal basis), and three calls that must be refused.
 * Needs Debian's python3-grpcio, python3-protobuf, protobuf-compiler and protobuf-compiler-grpc.
 * @throws Error with Python's own words when a call that must succeed does not
 */
export async function runPythonClient({ grpcTargets, caFile, token }: PythonVisit): Promise<PythonReport> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-python-"));
  try {
    await generateStubs(folder);
    const { person } = NAMED_PEOPLE.match;
    const visit = {
      targets: grpcTargets,
      caFile,
      token,
      verify: {
        requestId: crypto.randomUUID(),
        purpose: PURPOSE,
        legalBasis: LEGAL_BASIS,
        citizenId: person.citizenId,
        personName: person.name,
      },
    };
    const running = promisify(execFile)(PYTHON, [join(import.meta.dirname, "visit.py")], {
      // Nothing inherited: a proxy of this machine is not for loopback. No byte code into the repository.
      env: { PATH: process.env["PATH"], PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" },
      timeout: TIMEOUT_MS,
    });
    running.child.stdin?.end(JSON.stringify(visit));
    const { stdout } = await running;
    return JSON.parse(stdout) as PythonReport;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function generateStubs(folder: string): Promise<void> {
  const set = join(folder, "fujie.binpb");
  await writeDescriptorSet(set);
  mkdirSync(folder, { recursive: true });
  const names = fromBinary(FileDescriptorSetSchema, readFileSync(set)).file.map(({ name }) => name);
  await promisify(execFile)("protoc", [
    `--descriptor_set_in=${set}`,
    `--python_out=${folder}`,
    `--grpc_python_out=${folder}`,
    "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin",
    // protobuf's own types come with its Python package.
    ...names.filter((name) => !name.startsWith("google/protobuf/")),
  ]);
}
