export * from "./ca-profile.ts";
export {
  type Certificate,
  CertificateError,
  type CertificateParseReason,
  certificatesFromPem,
  type Extension,
  type KeyUsage,
  type Name,
  parseCertificate,
} from "./certificate.ts";
export * from "./crl.ts";
export * from "./identity-extension.ts";
export {
  buildOcspRequest,
  type CertificateId,
  certificateId,
  checkOcspResponse,
  type OcspInput,
  type OcspReason,
  type OcspResult,
  OID_OCSP_NONCE,
  readOcspRequest,
  sameCertificateId,
  writeCertificateId,
} from "./ocsp.ts";
export * from "./path.ts";
export * from "./possession.ts";
export * from "./revocation.ts";
export { type HashName, type KeyFamily, type PublicKey, SM2_DEFAULT_ID } from "./signature.ts";
