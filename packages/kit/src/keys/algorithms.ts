/**
 * The three signature algorithms behind one pair of functions. ES256 and Ed25519 are OpenSSL's through Node, and so are
 * new SM2 keys; SM2 signatures are sm-crypto-v2's, because Node's have an empty signer id and do not interoperate.
 */
import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign as nodeSign,
  verify as nodeVerify,
} from "node:crypto";
import { sm2 } from "sm-crypto-v2";
import { KeyError, type SigningAlgorithm } from "./key-ring.ts";

/** A private key ready to sign; SM2's stays a hexadecimal text inside, since OpenSSL cannot hold it usefully. */
export interface SigningKey {
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

export interface VerificationKey {
  /** False for anything that is not this key's signature over these bytes, malformed input included. */
  verify(bytes: Uint8Array, signature: Uint8Array): boolean;
}

export interface GeneratedKey {
  readonly jwk: JsonWebKey;
  /** PKCS #8 in DER, or for SM2 the 32-byte scalar. */
  readonly secret: Buffer;
}

export const SIGNATURE_BYTES = 64;
/** The signer id of GM/T 0009-2012 §10. */
const SM2_SIGNER_ID = "1234567812345678";
/** Of an SM2 key's table: a small one takes as long as two plain verifications, and makes each three times as fast. */
const WINDOW_BITS = 4;

export function generateSigningKey(algorithm: SigningAlgorithm): GeneratedKey {
  if (algorithm === "SM2") {
    const pair = createECDH("SM2");
    const point = pair.generateKeys();
    const x = point.toString("base64url", 1, 33);
    const y = point.toString("base64url", 33, 65);
    // OpenSSL leaves leading zeros out.
    const scalar = pair.getPrivateKey("hex").padStart(64, "0");
    return { jwk: { kty: "EC", crv: "SM2", x, y }, secret: Buffer.from(scalar, "hex") };
  }
  const { privateKey, publicKey } =
    algorithm === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
  return {
    jwk: publicKey.export({ format: "jwk" }),
    secret: privateKey.export({ format: "der", type: "pkcs8" }),
  };
}

export function importSigningKey(algorithm: SigningAlgorithm, secret: Buffer, jwk: JsonWebKey): SigningKey {
  if (algorithm === "SM2") {
    const privateKey = secret.toString("hex");
    const publicKey = sm2PointOf(jwk);
    const options = { hash: true, der: false, publicKey, userId: SM2_SIGNER_ID };
    return { sign: async (bytes) => Buffer.from(sm2.doSignature(bytes, privateKey, options), "hex") };
  }
  const key = createPrivateKey({ key: secret, format: "der", type: "pkcs8" });
  checkAlgorithm(key, algorithm);
  return {
    sign(bytes) {
      const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
      nodeSign(digestOf(algorithm), bytes, { key, dsaEncoding: "ieee-p1363" }, (error, signature) => {
        if (error === null) resolve(signature);
        else reject(new KeyError("signing failed"));
      });
      return promise;
    },
  };
}

export function importVerificationKey(algorithm: SigningAlgorithm, jwk: JsonWebKey): VerificationKey {
  if (algorithm === "SM2") return importSm2VerificationKey(jwk);
  const key = createPublicKey({ key: jwk, format: "jwk" });
  checkAlgorithm(key, algorithm);
  return {
    verify: (bytes, signature) =>
      signature.length === SIGNATURE_BYTES &&
      nodeVerify(digestOf(algorithm), bytes, { key, dsaEncoding: "ieee-p1363" }, signature),
  };
}

function importSm2VerificationKey(jwk: JsonWebKey): VerificationKey {
  const publicKey = sm2PointOf(jwk);
  if (!sm2.verifyPublicKey(publicKey)) throw new KeyError("an SM2 public key is not on the curve");
  const options = { hash: true, der: false, userId: SM2_SIGNER_ID };
  // Made for the first signature, not for every key.
  let point: ReturnType<typeof sm2.precomputePublicKey> | undefined;
  return {
    verify(bytes, signature) {
      if (signature.length !== SIGNATURE_BYTES) return false;
      try {
        point ??= sm2.precomputePublicKey(publicKey, WINDOW_BITS);
        return sm2.doVerifySignature(bytes, Buffer.from(signature).toString("hex"), point, options);
      } catch {
        // The library throws on numbers out of range: not a signature.
        return false;
      }
    },
  };
}

function sm2PointOf({ kty, crv, x, y }: JsonWebKey): string {
  if (kty !== "EC" || crv !== "SM2" || x === undefined || y === undefined) throw new KeyError("not an SM2 public key");
  const point = Buffer.concat([Buffer.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  if (point.length !== 65) throw new KeyError("not an SM2 public key");
  return point.toString("hex");
}

function checkAlgorithm(key: KeyObject, algorithm: "ES256" | "Ed25519"): void {
  const fits =
    algorithm === "ES256"
      ? key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1"
      : key.asymmetricKeyType === "ed25519";
  if (!fits) throw new KeyError(`a key is not of its algorithm ${algorithm}`);
}

function digestOf(algorithm: "ES256" | "Ed25519"): "sha256" | null {
  return algorithm === "ES256" ? "sha256" : null;
}
