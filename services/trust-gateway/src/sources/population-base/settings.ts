/** The fields of an entry of kind "population-base". */
export { readSignedHttpSettings as readSettings } from "../signed-http.ts";
