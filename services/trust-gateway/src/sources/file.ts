/**
 * FUJIE_SOURCES_FILE: `{"sources": [{"id", "kind", "sandbox"?, "level", "claimTypes", "priceFen", "usualLatencyMs", …}]}`
 * and the kind's own fields. Read at start and by --check-config, by the same code that opens the sources.
 */
import { readFileSync } from "node:fs";
import { isSourceKind } from "@fujie/identity";
import { isClaimTypeName } from "../claims/rules.ts";
import { type EntryReader, entryReader, SourcesFileError } from "./entry.ts";
import { type ReadySource, readKind } from "./index.ts";

const ID = /^[a-z0-9][a-z0-9-]{0,62}$/;
const SOURCES_MAX = 1_000;
const PRICE_FEN_MAX = 1_000_000;
const LATENCY_MS_MAX = 600_000;
const LEVEL_MAX = 3;

/** Reads and checks the whole file. Throws SourcesFileError, which names the entry and the field. */
export function readSourcesFile(path: string, environment: "production" | "sandbox"): readonly ReadySource[] {
  const list = listIn(parse(path));
  const entries = list.map((value, i) => readEntry(value, i, environment));
  const ids = entries.map(({ facts }) => facts.id);
  const repeated = ids.find((id, i) => ids.indexOf(id) !== i);
  if (repeated !== undefined) throw new SourcesFileError(`sources: the id ${repeated} is given twice`);
  return entries;
}

function parse(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw new SourcesFileError("the file cannot be read as JSON");
  }
}

function listIn(root: unknown): readonly unknown[] {
  const keys = typeof root === "object" && root !== null ? Object.entries(root) : [];
  const [name, list] = keys[0] ?? [];
  if (keys.length !== 1 || name !== "sources" || !Array.isArray(list)) {
    throw new SourcesFileError("the file is not an object with exactly one list, sources");
  }
  if (list.length === 0 || list.length > SOURCES_MAX) throw new SourcesFileError(`sources: not 1 to ${SOURCES_MAX}`);
  return list;
}

function readEntry(value: unknown, index: number, environment: "production" | "sandbox"): ReadySource {
  const place = `sources[${index}]`;
  const entry = entryReader(`${place} (${entryReader(place, value).text("id", ID)})`, value);
  const id = entry.text("id", ID);
  if (entry.flag("sandbox") && environment === "production") entry.fail("sandbox", "is true: refused in production");
  const kind = entry.text("kind", /^[a-z-]{1,40}$/);
  if (!isSourceKind(kind)) return entry.fail("kind", "is not one that there is");
  const ready = readKind(kind, entry, {
    id,
    claimTypes: readClaimTypes(entry, kind),
    level: entry.whole("level", 1, LEVEL_MAX),
    priceFen: entry.whole("priceFen", 0, PRICE_FEN_MAX),
    usualLatencyMs: entry.whole("usualLatencyMs", 0, LATENCY_MS_MAX),
  });
  entry.done();
  return ready;
}

function readClaimTypes(entry: EntryReader, kind: string) {
  const found = entry.texts("claimTypes");
  const known = found.filter(isClaimTypeName);
  if (known.length !== found.length || new Set(found).size !== found.length) {
    return entry.fail("claimTypes", "names an unknown type or one twice");
  }
  // A CA that answers no application's claims still vouches for registrations.
  if (known.length === 0 && kind !== "ca") return entry.fail("claimTypes", "is empty");
  if (known.some((type) => (type === "CERTIFICATE_POSSESSION") !== (kind === "ca"))) {
    return entry.fail("claimTypes", "names a type that this kind does not answer");
  }
  return known;
}
