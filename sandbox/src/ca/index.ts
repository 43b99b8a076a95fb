export {
  type Ca,
  type CaKind,
  createCa,
  type EnrolmentKind,
  type IssuedCertificate,
  type IssueInput,
  type SubjectName,
} from "./ca.ts";
export { OpensslError } from "./openssl.ts";
export { signPossession } from "./possession.ts";
export { type CaServer, startCaServer } from "./server.ts";
