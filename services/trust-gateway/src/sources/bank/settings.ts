/** The fields of an entry of kind "bank". */
export { readSignedHttpSettings as readSettings } from "../signed-http.ts";
