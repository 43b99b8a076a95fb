/** The fields of an entry of kind "legal-person-base". */
export { readSignedHttpSettings as readSettings, type SignedHttpSettings as BaseSettings } from "../signed-http.ts";
