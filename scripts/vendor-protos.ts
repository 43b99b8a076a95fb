// Writes proto/vendor: the third-party protos that ours import, so that buf works without the network.
//
// google/rpc comes from npm's google-proto-files as it is. npm ships no buf/validate/validate.proto, only its
// descriptor inside @bufbuild/protovalidate: it is printed back as source here, without comments and without the
// custom options on its own fields (the runtime that enforces the rules carries its own full descriptor).
// Both are Apache-2.0; proto/vendor/NOTICE says so.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const root = dirname(import.meta.dirname);
const fromKit = createRequire(join(root, "packages/kit/package.json"));
const fromRoot = createRequire(join(root, "package.json"));
const protovalidateDir = dirname(dirname(dirname(fromKit.resolve("@bufbuild/protovalidate"))));
const { file_buf_validate_validate: validateFile } = await import(
  join(protovalidateDir, "dist/esm/gen/buf/validate/validate_pb.js")
);

type Field = {
  name: string;
  number: number;
  label: number;
  type: number;
  typeName: string;
  extendee: string;
  defaultValue: string;
  oneofIndex: number;
  proto3Optional: boolean;
};
type EnumType = { name: string; value: { name: string; number: number }[] };
type Message = {
  name: string;
  field: Field[];
  nestedType: Message[];
  enumType: EnumType[];
  oneofDecl: { name: string }[];
  extensionRange: { start: number; end: number }[];
  reservedRange: { start: number; end: number }[];
};

const scalarNames: Record<number, string> = {
  1: "double",
  2: "float",
  3: "int64",
  4: "uint64",
  5: "int32",
  6: "fixed64",
  7: "fixed32",
  8: "bool",
  9: "string",
  12: "bytes",
  13: "uint32",
  15: "sfixed32",
  16: "sfixed64",
  17: "sint32",
  18: "sint64",
};
const labels: Record<number, string> = { 1: "optional", 2: "required", 3: "repeated" };

function printField(field: Field, insideOneof: boolean): string {
  const type = scalarNames[field.type] ?? field.typeName;
  const label = insideOneof ? "" : `${labels[field.label]} `;
  return `${label}${type} ${field.name} = ${field.number};`;
}

function printEnum(type: EnumType): string[] {
  return [`enum ${type.name} {`, ...type.value.map((v) => `  ${v.name} = ${v.number};`), "}"];
}

function printMessage(message: Message): string[] {
  const body: string[] = [];
  for (const nested of message.nestedType) body.push(...printMessage(nested));
  for (const type of message.enumType) body.push(...printEnum(type));
  message.oneofDecl.forEach((oneof, index) => {
    const members = message.field.filter((f) => Object.hasOwn(f, "oneofIndex") && f.oneofIndex === index);
    body.push(`oneof ${oneof.name} {`, ...members.map((f) => `  ${printField(f, true)}`), "}");
  });
  for (const field of message.field.filter((f) => !Object.hasOwn(f, "oneofIndex"))) body.push(printField(field, false));
  for (const { start, end } of message.reservedRange) body.push(`reserved ${start} to ${end - 1};`);
  for (const { start, end } of message.extensionRange) {
    body.push(`extensions ${start} to ${end > 536_870_911 ? "max" : end - 1};`);
  }
  return [`message ${message.name} {`, ...body.map((line) => `  ${line}`), "}", ""];
}

function printFile(proto: {
  syntax: string;
  package: string;
  dependency: string[];
  enumType: EnumType[];
  messageType: Message[];
  extension: Field[];
}): string {
  const extensions = proto.extension.map((f) => `extend ${f.extendee} {\n  ${printField(f, false)}\n}`);
  return [
    "// Copyright 2023-2026 Buf Technologies, Inc. Licensed under the Apache License, Version 2.0 (see NOTICE).",
    "// Printed from the descriptor in npm @bufbuild/protovalidate by scripts/vendor-protos.ts. Do not edit.",
    `syntax = "${proto.syntax || "proto2"}";`,
    `package ${proto.package};`,
    ...proto.dependency.map((path) => `import "${path}";`),
    "",
    ...extensions,
    "",
    ...proto.enumType.flatMap(printEnum),
    ...proto.messageType.flatMap(printMessage),
  ].join("\n");
}

const vendor = join(root, "proto/vendor");
mkdirSync(join(vendor, "buf/validate"), { recursive: true });
mkdirSync(join(vendor, "google/rpc"), { recursive: true });
writeFileSync(join(vendor, "buf/validate/validate.proto"), printFile(validateFile.proto));
const googleDir = dirname(fromRoot.resolve("google-proto-files/package.json"));
for (const name of ["code", "error_details", "status"]) {
  writeFileSync(join(vendor, `google/rpc/${name}.proto`), readFileSync(join(googleDir, `google/rpc/${name}.proto`)));
}
writeFileSync(
  join(vendor, "NOTICE"),
  "buf/validate/validate.proto: Copyright 2023-2026 Buf Technologies, Inc., Apache License 2.0 (protovalidate).\n" +
    "google/rpc/*.proto: Copyright Google LLC, Apache License 2.0 (googleapis).\n",
);
