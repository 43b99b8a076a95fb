/**
 * The files through which a trust-gateway gets to know the sandbox, in one folder:
 *
 *   sources.json                       who the sources are and where; names the files below
 *   population-base.secret, legal-person-base.secret, carrier.secret, bank.secret, biometric.secret
 *                                      keys of request signatures, the file's whole text (0600)
 *   partner-assertion.key              the partner's signing key, PEM (0600); only its public half is handed on
 *   ca-ecdsa.json, ca-sm2.json         CA profiles
 *
 * Secrets and keys are made at the first start and stay. The other files say where the sandbox listens now, and are
 * therefore written at every start, each as a whole.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ClaimType } from "@fujie/api/fujie/source/v1/source";
import { BANK_DEFAULTS } from "./bank/source.ts";
import { BIOMETRIC_DEFAULTS } from "./biometric/source.ts";
import { CARRIER_DEFAULTS } from "./carrier/source.ts";
import { CA_DEFAULTS } from "./certificate-authority/source.ts";
import type { HttpCaller } from "./http/signature.ts";
import { LEGAL_PERSON_DEFAULTS } from "./legal-person-base/source.ts";
import { type AssertionKey, PARTNER_LEVELS } from "./partner/rules.ts";
import { PARTNER_DEFAULTS } from "./partner/source.ts";
import { POPULATION_DEFAULTS } from "./population-base/source.ts";

/** The platform's id at every source of the sandbox. */
export const CLIENT_ID = "fujie-trust-gateway";

export type Credentials = {
  readonly population: HttpCaller;
  readonly legalPerson: HttpCaller;
  readonly carrier: HttpCaller;
  readonly bank: HttpCaller;
  readonly biometric: HttpCaller;
  readonly assertion: AssertionKey;
};

type SourceEntry = {
  readonly id: string;
  readonly kind: "population-base" | "legal-person-base" | "carrier" | "bank" | "biometric" | "partner" | "ca";
  /** A production gateway refuses a file in which this is true. */
  readonly sandbox: true;
  /** HTTP sources: the origin of a base, the folder of a CA. */
  readonly url?: string;
  /** Instead of `url`, the addresses of a source that has several: each knows what the others answered. */
  readonly urls?: readonly string[];
  /** gRPC sources: host and port. */
  readonly target?: string;
  /** The platform's id at the source: the `x-client-id` of a base, the audience of a partner's assertions. */
  readonly clientId?: string;
  readonly secretFile?: string;
  readonly assertionKeys?: readonly { readonly keyId: string; readonly publicKeyPem: string }[];
  readonly profileFile?: string;
  /** The highest level of assurance of its answers, 1 to 3. */
  readonly level: number;
  /** As in fujie.trust.v1.ClaimType, without the prefix. */
  readonly claimTypes: readonly string[];
  /** What one check costs, in hundredths of a yuan. */
  readonly priceFen: number;
  readonly usualLatencyMs: number;
};

/** Reads the secrets of the folder, or makes them there. */
export async function openCredentials(dir: string): Promise<Credentials> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const makeSecret = () => randomBytes(32).toString("base64url");
  const caller = async (id: string) => ({
    clientId: CLIENT_ID,
    secret: await readOrMake(secretFile(dir, id), makeSecret),
  });
  const [population, legalPerson, carrier, bank, biometric, keyPem] = await Promise.all([
    caller("population-base"),
    caller("legal-person-base"),
    caller("carrier"),
    caller("bank"),
    caller("biometric"),
    readOrMake(join(dir, "partner-assertion.key"), makeAssertionKey),
  ]);
  const privateKey = createPrivateKey(keyPem);
  return {
    population,
    legalPerson,
    carrier,
    bank,
    biometric,
    assertion: { keyId: keyIdOf(createPublicKey(keyPem).export({ type: "spki", format: "der" })), privateKey },
  };
}

/** Writes sources.json and the CA profiles. */
export async function writeSources(
  dir: string,
  sandbox: {
    /** Without a trailing slash. */
    readonly httpUrl: string;
    /** The population base's second address. */
    readonly replicaUrl: string;
    readonly grpcTarget: string;
    readonly assertion: AssertionKey;
    readonly profiles: Readonly<Record<"ca-ecdsa" | "ca-sm2", unknown>>;
  },
): Promise<void> {
  const { httpUrl, replicaUrl, grpcTarget, assertion, profiles } = sandbox;
  for (const [id, profile] of Object.entries(profiles)) await replaceFile(profileFile(dir, id), profile);
  const publicKeyPem = createPublicKey(assertion.privateKey).export({ type: "spki", format: "pem" }).toString();
  const sources: SourceEntry[] = [
    {
      ...httpEntry(dir, "population-base", POPULATION_DEFAULTS),
      urls: [httpUrl, replicaUrl],
      level: 2,
      claimTypes: ["PERSON_TWO_ELEMENT", "DOCUMENT_VALIDITY", "GUARDIAN"],
      priceFen: 30,
    },
    {
      ...httpEntry(dir, "legal-person-base", LEGAL_PERSON_DEFAULTS),
      url: httpUrl,
      level: 3,
      claimTypes: ["LEGAL_PERSON", "LEGAL_REPRESENTATIVE"],
      priceFen: 50,
    },
    {
      id: "partner",
      kind: "partner",
      sandbox: true,
      target: grpcTarget,
      clientId: CLIENT_ID,
      assertionKeys: [{ keyId: assertion.keyId, publicKeyPem }],
      level: 3,
      claimTypes: [...PARTNER_LEVELS.keys()].map((type) => ClaimType[type]),
      priceFen: 80,
      usualLatencyMs: PARTNER_DEFAULTS.latencyMs,
    },
    caEntry(dir, "ca-ecdsa", httpUrl),
    caEntry(dir, "ca-sm2", httpUrl),
    {
      ...httpEntry(dir, "carrier", CARRIER_DEFAULTS),
      url: httpUrl,
      level: 2,
      claimTypes: ["PERSON_CARRIER"],
      priceFen: 60,
    },
    {
      ...httpEntry(dir, "bank", BANK_DEFAULTS),
      url: httpUrl,
      level: 2,
      claimTypes: ["PERSON_BANK_CARD", "PERSON_BANK_CARD_PHONE"],
      priceFen: 70,
    },
    {
      ...httpEntry(dir, "biometric", BIOMETRIC_DEFAULTS),
      url: httpUrl,
      level: 3,
      claimTypes: ["PERSON_FACE"],
      priceFen: 100,
    },
  ];
  await replaceFile(join(dir, "sources.json"), { sources });
}

/** What all entries of sources have in common that are asked by signed HTTP. */
function httpEntry(
  dir: string,
  kind: "population-base" | "legal-person-base" | "carrier" | "bank" | "biometric",
  { latencyMs }: { readonly latencyMs: number },
): Pick<SourceEntry, "id" | "kind" | "sandbox" | "clientId" | "secretFile" | "usualLatencyMs"> {
  const secret = secretFile(dir, kind);
  return { id: kind, kind, sandbox: true, clientId: CLIENT_ID, secretFile: secret, usualLatencyMs: latencyMs };
}

function caEntry(dir: string, id: "ca-ecdsa" | "ca-sm2", httpUrl: string): SourceEntry {
  return {
    id,
    kind: "ca",
    sandbox: true,
    url: `${httpUrl}/ca/${id}`,
    profileFile: profileFile(dir, id),
    level: 3,
    claimTypes: ["CERTIFICATE_POSSESSION"],
    priceFen: 0,
    usualLatencyMs: CA_DEFAULTS.latencyMs,
  };
}

const secretFile = (dir: string, id: string): string => resolve(dir, `${id}.secret`);
const profileFile = (dir: string, id: string): string => resolve(dir, `${id}.json`);

/** The first start wins: an existing file is never written over. */
async function readOrMake(file: string, make: () => string): Promise<string> {
  try {
    await writeFile(file, make(), { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || error.code !== "EEXIST") throw error;
  }
  const text = await readFile(file, "utf8");
  if (text === "") throw new Error(`${file} is empty: remove it, and the next start makes a new one`);
  return text;
}

async function replaceFile(file: string, value: unknown): Promise<void> {
  const draft = `${file}.new`;
  await writeFile(draft, `${JSON.stringify(value, undefined, 2)}\n`);
  await rename(draft, file);
}

function makeAssertionKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Short, and follows from the key: a new key can never go by an old id. */
function keyIdOf(publicKeyDer: Buffer): string {
  return createHash("sha256").update(publicKeyDer).digest("hex").slice(0, 16);
}
