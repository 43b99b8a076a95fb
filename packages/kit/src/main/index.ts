export { type MainOptions, runMain } from "./run-main.ts";
