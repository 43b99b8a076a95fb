/** The fields of an entry of kind "legal-person-base". */
export { readSignedHttpSettings as readSettings } from "../signed-http.ts";
