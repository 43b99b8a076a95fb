// Builds the descriptor set of the whole contract, with imports and comments, for clients in other languages:
//
//   node scripts/descriptor-set.ts <file.binpb>

import { runProgram } from "./testing/programs.ts";

/**
 * Writes a google.protobuf.FileDescriptorSet of everything in proto/: what protoc (`--descriptor_set_in`), grpcurl
 * (`-protoset`) and protobuf's run-time libraries read.
 * @throws Error with buf's output when the contract does not compile
 */
export async function writeDescriptorSet(file: string): Promise<void> {
  const { code, output } = await runProgram("buf", ["build", "--as-file-descriptor-set", "--output", file]);
  if (code !== 0) throw new Error(`buf build failed:\n${output}`);
}

if (import.meta.main) {
  const [file, ...more] = process.argv.slice(2);
  if (file?.endsWith(".binpb") !== true || more.length > 0) {
    console.error("usage: node scripts/descriptor-set.ts <file.binpb>");
    process.exitCode = 2;
  } else {
    await writeDescriptorSet(file);
  }
}
