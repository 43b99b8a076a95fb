import { parseArgs } from "node:util";
import { type EntryVerdict, entryVerifier, readEntryFile } from "../verify/entry.ts";
import { requireOption, UsageError } from "./usage.ts";

export async function runVerify(args: readonly string[]): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { keys: { type: "string" }, root: { type: "string" } },
  });
  const [what, ...files] = positionals;
  if (what !== "entry" || files.length === 0) throw new UsageError("fujie verify entry FILE … --keys FILE --root FILE");
  const verify = entryVerifier({
    bundleFile: requireOption(values.keys, "keys"),
    bundleRootFile: requireOption(values.root, "root"),
  });
  const verdicts = files.map((file) => tell(file, verify(readEntryFile(file))));
  return verdicts.every(Boolean) ? 0 : 1;
}

/** Says of one file whether its entry is proven. */
function tell(file: string, verdict: EntryVerdict): boolean {
  if (!verdict.ok) {
    process.stderr.write(`NOT PROVEN: ${file}: ${verdict.reason}\n`);
    return false;
  }
  const { entry, index, size, origin } = verdict;
  const when = new Date(entry.timeMs).toISOString();
  process.stdout.write(
    `PROVEN: entry ${index} of ${size} in ${origin}: ${when} ${entry.service} ${entry.type} ${entry.outcome}\n`,
  );
  return true;
}
