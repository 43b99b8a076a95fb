/** The witness of the embedded platform: in the real world, a program of the managing authority on a machine of its own. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkpointVerifiers } from "@fujie/audit/log";
import { loadKeyBundle } from "@fujie/kit/keys";
import { formatVerifierKey } from "@fujie/transparency";
import { createWitnessKey, readWitnessKey, verifierKeyOf, type WitnessConfig } from "@fujie/witness";

const NAME = "witness.fujie/embedded";
/** What audit calls its log unless it is told otherwise. */
const ORIGIN = "fujie.audit/embedded";

/** Where the witness's files are, and what others need of it. */
export interface WitnessFiles {
  readonly configFile: string;
  /** The setting of audit that names it. */
  readonly witnessesFile: string;
  /** Its public key as text, for `fujie audit verify --witness`. */
  readonly keyFile: string;
}

/** Writes the settings of the witness and of those who use it; its key is made once. */
export function prepareWitness(
  folder: string,
  port: number,
  keys: { readonly bundleFile: string; readonly bundleRootFile: string },
): WitnessFiles {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const privateKey = join(folder, "witness.pem");
  const key = existsSync(privateKey) ? readWitnessKey(privateKey) : createWitnessKey(privateKey);
  const listen = `127.0.0.1:${port}`;
  const { entries } = loadKeyBundle(keys.bundleFile, keys.bundleRootFile);
  const config: WitnessConfig = {
    name: NAME,
    listen,
    keyFile: "witness.pem",
    stateFile: "witness.db",
    logs: [{ origin: ORIGIN, verifierKeys: checkpointVerifiers(entries, ORIGIN).map(formatVerifierKey) }],
  };
  const files: WitnessFiles = {
    configFile: join(folder, "witness.json"),
    witnessesFile: join(folder, "witnesses.json"),
    keyFile: join(folder, "witness.vkey"),
  };
  const verifierKey = verifierKeyOf(NAME, key);
  writeFileSync(files.configFile, JSON.stringify(config));
  writeFileSync(files.witnessesFile, JSON.stringify([{ url: `http://${listen}`, verifierKey }]));
  writeFileSync(files.keyFile, `${verifierKey}\n`);
  return files;
}
