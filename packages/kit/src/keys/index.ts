export {
  type BundleContent,
  type FileKeyBundle,
  type KeyBundleOptions,
  loadKeyBundle,
  readBundle,
} from "./bundle.ts";
export { type FileKeyRing, type FileKeyRingOptions, openFileKeyRing } from "./file-ring.ts";
export {
  type KeyBundle,
  KeyError,
  type KeyedSignature,
  type KeyRing,
  type KeyUse,
  type PublicKeyEntry,
  type SealingUse,
  type SecretUse,
  type SignatureCheck,
  type SigningAlgorithm,
  type SigningUse,
  type VersionedDigest,
} from "./key-ring.ts";
export { type Provisioned, type ProvisionOptions, provisionKeys, publishBundle, rotateKey } from "./provision.ts";
export { generateDataKey, open, seal } from "./sealing.ts";
export { usesOf } from "./uses.ts";
