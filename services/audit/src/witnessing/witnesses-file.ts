import { readFileSync } from "node:fs";
import { FormatError, parseVerifierKey, type Verifier } from "@fujie/transparency";

/** A witness that gets the log's checkpoints. */
export interface Witness {
  /** Where it takes them, without `/add-checkpoint`. */
  readonly url: string;
  readonly verifier: Verifier;
}

/** What is wrong with the file of witnesses; the message names the place. */
export class WitnessesFileError extends Error {
  override readonly name = "WitnessesFileError";
}

const WITNESSES_MAX = 16;

/**
 * Reads the witnesses (JSON): `[{"url": "https://witness.example.cn", "verifierKey": "name+keyid+key"}]`. The address
 * is HTTPS, except on loopback. Errors: WitnessesFileError.
 */
export function readWitnessesFile(file: string): readonly Witness[] {
  const given = parseJson(file);
  if (!Array.isArray(given) || given.length > WITNESSES_MAX)
    throw new WitnessesFileError(`must be a list of at most ${WITNESSES_MAX} witnesses`);
  const witnesses = given.map((each: unknown, at) => witnessOf(each, `[${at}]`));
  if (new Set(witnesses.map(({ verifier }) => verifier.name)).size !== witnesses.length)
    throw new WitnessesFileError("a witness stands twice");
  return witnesses;
}

function parseJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    throw new WitnessesFileError("must be a readable JSON file");
  }
}

function witnessOf(given: unknown, place: string): Witness {
  if (typeof given !== "object" || given === null || !("url" in given) || !("verifierKey" in given))
    throw new WitnessesFileError(`${place} needs url and verifierKey`);
  const { url, verifierKey, ...unknown } = given;
  if (Object.keys(unknown).length > 0) throw new WitnessesFileError(`${place} has more than url and verifierKey`);
  if (typeof url !== "string" || !isAddress(url))
    throw new WitnessesFileError(`${place}.url must be https, or http on loopback`);
  return { url: url.replace(/\/$/, ""), verifier: verifierOf(verifierKey, place) };
}

function isAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === "https:" || (protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(hostname));
}

function verifierOf(text: unknown, place: string): Verifier {
  try {
    const verifier = parseVerifierKey(typeof text === "string" ? text : "");
    if (verifier.algorithm === "cosignature/v1") return verifier;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
  }
  throw new WitnessesFileError(`${place}.verifierKey is not a witness's key`);
}
