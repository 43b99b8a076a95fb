import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { loadKeyBundle } from "@fujie/kit/keys";
import { parseVerifierKey } from "@fujie/transparency";
import { readElements } from "../receipt/elements.ts";
import { type ReceiptVerdict, readReceiptFile, verifyReceipt } from "../receipt/verify.ts";
import { requireOption, UsageError } from "./usage.ts";

type Say = (line: string) => void;

const toTerminal: Say = (line) => void process.stdout.write(`${line}\n`);

/** Exit code 0: proven; 1: not proven; 2: not understood. */
export async function runReceipt(args: readonly string[], say: Say = toTerminal): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      keys: { type: "string" },
      root: { type: "string" },
      witness: { type: "string", multiple: true, default: [] },
      elements: { type: "string" },
    },
  });
  const [what, file, ...others] = positionals;
  if (what !== "verify" || file === undefined || others.length > 0) {
    throw new UsageError("fujie receipt verify FILE --keys FILE --root FILE [--elements FILE] [--witness KEY …]");
  }
  const keysFile = requireOption(values.keys, "keys");
  const rootFile = requireOption(values.root, "root");
  using bundle = loadKeyBundle(keysFile, rootFile);
  const witnesses = understand("--witness", () => values.witness.map(parseVerifierKey));
  const receipt = understand(file, () => readReceiptFile(readFileSync(file, "utf8")));
  const { elements: elementsFile } = values;
  const elements =
    elementsFile === undefined
      ? undefined
      : understand(elementsFile, () => readElements(readFileSync(elementsFile, "utf8")));
  return tell(file, verifyReceipt(receipt, { bundle, witnesses }, elements), say) ? 0 : 1;
}

function tell(file: string, verdict: ReceiptVerdict, say: Say): boolean {
  if (!verdict.ok) {
    say(`NOT PROVEN: ${file}: ${verdict.reason}`);
    return false;
  }
  const { statement, signatures, logged, cosignatures, elements } = verdict;
  const { verificationId, applicationId, purpose, outcome, level, decidedAtMs } = statement;
  say(`SIGNED: by ${signatures.join(" and ")} keys of the platform`);
  say(`LOGGED: entry ${logged.index} of ${logged.size} in ${logged.origin}, ${isoTime(logged.timeMs)}`);
  for (const { name, timestampS } of cosignatures) say(`WITNESSED: by ${name} at ${isoTime(timestampS * 1_000)}`);
  if (cosignatures.length === 0) say("UNWITNESSED: give --witness with the key of a witness that you trust");
  say(
    elements === "COMMITTED"
      ? "ABOUT: exactly the elements given"
      : "NOT COMPARED with anybody's elements: give --elements, and a receipt with its salt",
  );
  const result = outcome === "VERIFIED" ? `VERIFIED at level ${level}` : outcome;
  say(`PROVEN: ${verificationId} of ${applicationId} for ${purpose}: ${result}, ${isoTime(decidedAtMs)}`);
  return true;
}

function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** What cannot be read is not understood, which is not the same as not proven. */
function understand<Value>(what: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw new UsageError(`${what}: ${error instanceof Error ? error.message : "cannot be read"}`);
  }
}
