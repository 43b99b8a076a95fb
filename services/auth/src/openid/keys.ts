/** The token keys of the ring as the OpenID library takes them: it gets public keys and asks for signatures. */
import { createPublicKey, type KeyObject } from "node:crypto";
import type { KeyRing, PublicKeyEntry } from "@fujie/kit/keys";
import type { JwksSource } from "@fujie/kit/tokens";
import { ExternalSigningKey } from "oidc-provider";

/**
 * Token keys in the order in which the library should choose: first the one that signs now, then those whose
 * signatures may still be about, or that will sign next. Throws when none may sign.
 */
export function orderTokenKeys(entries: readonly PublicKeyEntry[], nowMs: number): readonly PublicKeyEntry[] {
  const keys = entries.filter((entry) => entry.use === "token").toSorted((a, b) => b.version - a.version);
  const active = keys.find(
    (key) => key.notBeforeMs <= nowMs && (key.notAfterMs === undefined || nowMs < key.notAfterMs),
  );
  if (active === undefined) throw new Error("no token key may sign now");
  return [active, ...keys.filter((key) => key !== active)];
}

/** One key of the ring. The private half stays where it is. */
export class TokenSigningKey extends ExternalSigningKey {
  readonly #ring: Pick<KeyRing, "sign">;
  readonly #entry: PublicKeyEntry;
  readonly #publicKey: KeyObject;

  constructor(ring: Pick<KeyRing, "sign">, entry: PublicKeyEntry) {
    super();
    this.#ring = ring;
    this.#entry = entry;
    this.#publicKey = createPublicKey({ key: entry.jwk, format: "jwk" });
  }

  override get kid(): string {
    return this.#entry.keyId;
  }

  override get alg(): string {
    return "ES256";
  }

  override keyObject(): KeyObject {
    return this.#publicKey;
  }

  override async sign(data: Uint8Array): Promise<Uint8Array> {
    const { keyId, signature } = await this.#ring.sign("token", data);
    // The header names this key already: a rotation in this very moment fails the request rather than lie about it.
    if (keyId !== this.#entry.keyId) throw new Error("the token key was rotated while a token was made");
    return signature;
  }
}

/** Auth's own keys for the verifier of its own calls, without asking itself over the network. */
export function ringJwks(ring: () => Pick<KeyRing, "publicKeys"> | undefined): JwksSource {
  return {
    find(keyId) {
      const entry = ring()
        ?.publicKeys()
        .find((key) => key.use === "token" && key.keyId === keyId);
      if (entry === undefined) return undefined;
      return { keyId, algorithm: "ES256", key: createPublicKey({ key: entry.jwk, format: "jwk" }) };
    },
  };
}
