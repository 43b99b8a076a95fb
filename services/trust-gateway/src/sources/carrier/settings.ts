/** The fields of an entry of kind "carrier". */
export { readSignedHttpSettings as readSettings } from "../signed-http.ts";
