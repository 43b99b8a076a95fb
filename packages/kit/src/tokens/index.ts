export { TokenCheckError } from "./claims.ts";
export {
  type JwksSource,
  type RemoteJwksOptions,
  remoteJwks,
  staticJwks,
  type TokenAlgorithm,
  type TokenKey,
} from "./jwks.ts";
export {
  createRevocationList,
  type Revocation,
  type RevocationList,
  type RevocationListOptions,
} from "./revocation-list.ts";
export { type OrganisationRole, organisationRoles, type VerifiedToken } from "./verified-token.ts";
export { createTokenVerifier, type TokenVerifier, type TokenVerifierOptions } from "./verifier.ts";
