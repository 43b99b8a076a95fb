import { parseArgs } from "node:util";
import { verifyEntryFile } from "../verify/entry.ts";
import { requireOption, UsageError } from "./usage.ts";

export async function runVerify(args: readonly string[]): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { keys: { type: "string" }, root: { type: "string" } },
  });
  const [what, file] = positionals;
  if (what !== "entry" || file === undefined) throw new UsageError("fujie verify entry FILE --keys FILE --root FILE");
  const verdict = verifyEntryFile(file, {
    bundleFile: requireOption(values.keys, "keys"),
    bundleRootFile: requireOption(values.root, "root"),
  });
  if (!verdict.ok) {
    process.stderr.write(`NOT PROVEN: ${verdict.reason}\n`);
    return 1;
  }
  const { entry, index, size, origin } = verdict;
  const when = new Date(entry.timeMs).toISOString();
  process.stdout.write(
    `PROVEN: entry ${index} of ${size} in ${origin}: ${when} ${entry.service} ${entry.type} ${entry.outcome}\n`,
  );
  return 0;
}
