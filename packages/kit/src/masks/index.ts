export { readUpdateMask } from "./update-mask.ts";
