import { createPublicKey, type KeyObject } from "node:crypto";
import type { EntryReader } from "../entry.ts";

export interface PartnerSettings {
  /** gRPC target. */
  readonly target: string;
  /** The name in the partner's certificate: spiffe://fujie/<peerName>. */
  readonly peerName: string;
  /** The platform's id at the partner: the audience of its assertions. */
  readonly clientId: string;
  /** The registered keys of its assertions, by id: ES256. */
  readonly assertionKeys: ReadonlyMap<string, KeyObject>;
}

const KEYS_MAX = 8;

/** The fields of an entry of kind "partner". Throws SourcesFileError. */
export function readSettings(entry: EntryReader): PartnerSettings {
  const keys = entry.list("assertionKeys", (item) => {
    const keyId = item.text("keyId", /^[\x21-\x7e]{1,64}$/);
    return [keyId, readKey(item)] as const;
  });
  const assertionKeys = new Map(keys);
  if (keys.length === 0 || keys.length > KEYS_MAX || assertionKeys.size !== keys.length) {
    return entry.fail("assertionKeys", `does not hold 1 to ${KEYS_MAX} keys with an id each`);
  }
  const peerName = entry.optionalText("peerName", /^[a-z][a-z0-9-]{0,62}$/);
  const sandbox = entry.flag("sandbox");
  return {
    target: entry.text("target", /^[\x21-\x7e]{3,300}$/),
    peerName: peerName ?? (sandbox ? "sandbox" : entry.fail("peerName", "is missing")),
    clientId: entry.text("clientId", /^[\x21-\x7e]{1,128}$/),
    assertionKeys,
  };
}

function readKey(item: EntryReader): KeyObject {
  const pem = item.text("publicKeyPem", /^-----BEGIN PUBLIC KEY-----[\s\S]{1,2000}$/);
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    return item.fail("publicKeyPem", "is no public key");
  }
  const isP256 = key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
  return isP256 ? key : item.fail("publicKeyPem", "is not a P-256 key");
}
