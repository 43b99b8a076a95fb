import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseBankCard, parseCitizenId } from "../../packages/identity/src/index.ts";
import { NAMED_PEOPLE } from "../../sandbox/src/people/index.ts";

/** What was looked through, and where people were found: never who. */
export type CanaryScan = { files: number; bytes: number; findings: string[] };

/** Passwords that the tests sign in with. */
const PASSWORDS = ["correct horse battery", "a password of my own"];
const NAMES = Object.values(NAMED_PEOPLE).flatMap(({ person: { name } }) => [
  name,
  encodeURIComponent(name),
  Buffer.from(name).toString("hex"),
]);

/**
 * Looks through everything below a folder for people whom only tests know: citizen ids of fictional districts, in clear
 * or in hexadecimal, the named people, phones and bank cards of number ranges that nobody has, and passwords.
 */
export function scanForCanaries(folder: string): CanaryScan {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const scan: CanaryScan = { files: 0, bytes: 0, findings: [] };
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const contents = readFileSync(path);
    scan.files += 1;
    scan.bytes += contents.length;
    const found = canariesIn(contents.toString());
    if (found.length > 0) scan.findings.push(`${path.slice(folder.length + 1)}: ${found.join(", ")}`);
  }
  return scan;
}

/** Which kinds of canary a text holds. */
export function canariesIn(text: string): string[] {
  const kinds: Record<string, boolean> = {
    "a citizen id": citizenIdsIn(text).some(isFictional),
    "a name": NAMES.some((name) => text.includes(name)),
    "a phone number": /(?<![\w.+/=-])1540\d{7}(?![\w.])/.test(text),
    "a bank card": (text.match(/(?<![\w.+/=-])99990000\d{8}(?![\w.])/g) ?? []).some((card) => parseBankCard(card).ok),
    "a password": PASSWORDS.some((password) => text.includes(password)),
  };
  return Object.keys(kinds).filter((kind) => kinds[kind]);
}

function citizenIdsIn(text: string): string[] {
  const plain = text.match(/(?<!\d)\d{17}[\dXx](?!\d)/g) ?? [];
  // "1" is 31 in hexadecimal, "X" is 58.
  const hex = text.match(/(?:3\d){17}(?:3\d|58)/g) ?? [];
  return [...plain, ...hex.map((digits) => Buffer.from(digits, "hex").toString("latin1"))];
}

/** All people of the sandbox live in districts that do not exist: what is refused for that alone is one of them. */
function isFictional(text: string): boolean {
  const parsed = parseCitizenId(text.toUpperCase(), { today: new Date().toISOString().slice(0, 10) });
  return !parsed.ok && parsed.reason === "fictional";
}
