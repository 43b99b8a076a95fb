// The contract as the protos state it: descriptors with their comments, read from a fresh build of proto/.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createFileRegistry,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
  getOption,
} from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { getComments } from "@bufbuild/protoplugin";
import { access, ObjectRule } from "../../../packages/api/src/gen/fujie/options/v1/options_pb.js";
import { writeDescriptorSet } from "../../descriptor-set.ts";

export async function readContract(): Promise<FileRegistry> {
  return createFileRegistry(await buildDescriptorSet());
}

export async function buildDescriptorSet(): Promise<FileDescriptorSet> {
  const folder = mkdtempSync(join(tmpdir(), "fujie-contract-"));
  try {
    const file = join(folder, "fujie.binpb");
    await writeDescriptorSet(file);
    return fromBinary(FileDescriptorSetSchema, readFileSync(file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Services with the methods that somebody outside the platform may call, by name. */
export function publicServices(contract: FileRegistry): { service: DescService; methods: DescMethod[] }[] {
  return [...contract]
    .filter((desc) => desc.kind === "service")
    .toSorted((one, other) => (one.typeName < other.typeName ? -1 : 1))
    .map((service) => ({ service, methods: service.methods.filter(isPublic) }))
    .filter(({ methods }) => methods.length > 0);
}

function isPublic(method: DescMethod): boolean {
  const { object } = getOption(method, access);
  return object !== ObjectRule.UNSPECIFIED && object !== ObjectRule.PEER;
}

type Commented = Parameters<typeof getComments>[0];

/** The comment before a declaration, as one text: line breaks in a comment only keep lines short. */
export function commentOf(desc: Commented): string {
  return (getComments(desc).leading ?? "").trim().replaceAll(/\s*\n\s*/g, " ");
}
