export {
  type Identity,
  IdentityError,
  type IdentityFiles,
  type IdentityOptions,
  loadIdentity,
  type TlsMaterial,
} from "./identity.ts";
export { createLocalCa, type LocalCa } from "./local-ca.ts";
export { type NamedCertificate, peerNameFromCertificate, peerUri, TRUST_DOMAIN } from "./peer-name.ts";
