export { checkpointVerifiers, signCheckpoint } from "./checkpoints.ts";
export { readNotes } from "./notes.ts";
export { emptyTree, type FullTile, growTree, type Tree } from "./tree.ts";
export { type Finding, type LogReport, type VerifyOptions, verifyLog } from "./verify.ts";
