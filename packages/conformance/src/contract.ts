import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { file_fujie_source_v1_source } from "@fujie/api/fujie/source/v1/source";

/** Which contract a report is about: SHA-256, in hexadecimal, of the descriptor set of fujie.source.v1. */
export function contractVersion(): string {
  const set = create(FileDescriptorSetSchema, { file: [file_fujie_source_v1_source.proto] });
  return createHash("sha256").update(toBinary(FileDescriptorSetSchema, set)).digest("hex");
}
