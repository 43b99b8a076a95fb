/** The fields of an entry of kind "biometric". */
export { readSignedHttpSettings as readSettings } from "../signed-http.ts";
