import { type DescFile, type DescService, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "@fujie/api/google/rpc/error_details";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "./gen/grpc/reflection/v1/reflection_pb.js";
import { type Handler, handler } from "./handler.ts";

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

/** grpc.reflection.v1 over the descriptors of the served services. For sandboxes: a production server does not serve it. */
export function createReflectionHandler(services: readonly DescService[]): Handler {
  const files = new Map<string, DescFile>();
  for (const service of services) collectFiles(service.file, files);
  // No method names them, but every refusal carries them: a generic client reads its details with these.
  collectFiles(file_google_rpc_error_details, files);
  const symbols = indexSymbols(files.values());
  const extensions = indexExtensions(files.values());
  const names = services.map(({ typeName }) => ({ name: typeName }));

  function answer({ messageRequest }: ServerReflectionRequest): Answer {
    switch (messageRequest.case) {
      case "fileByFilename":
        return describe(files.get(messageRequest.value));
      case "fileContainingSymbol":
        return describe(symbols.get(messageRequest.value));
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = messageRequest.value;
        return describe(extensions.get(containingType)?.get(extensionNumber));
      }
      case "allExtensionNumbersOfType": {
        const numbers = extensions.get(messageRequest.value);
        if (numbers === undefined && !symbols.has(messageRequest.value)) return describe(undefined);
        const extensionNumber = [...(numbers?.keys() ?? [])];
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: messageRequest.value, extensionNumber } };
      }
      case "listServices":
        return { case: "listServicesResponse", value: { service: names } };
      default:
        return failure(Code.InvalidArgument, "the request asks for nothing");
    }
  }

  function describe(file: DescFile | undefined): Answer {
    if (file === undefined) return failure(Code.NotFound, "not found");
    const needed = new Map<string, DescFile>();
    collectFiles(file, needed);
    const fileDescriptorProto = [...needed.values()].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
  }

  return handler(ServerReflection, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
      }
    },
  });
}

function failure(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

/** The file first, then what it imports, each once. */
function collectFiles(file: DescFile, into: Map<string, DescFile>): void {
  if (into.has(file.proto.name)) return;
  into.set(file.proto.name, file);
  for (const dependency of file.dependencies) collectFiles(dependency, into);
}

function indexSymbols(files: Iterable<DescFile>): Map<string, DescFile> {
  const symbols = new Map<string, DescFile>();
  for (const file of files) {
    for (const type of nestedTypes(file)) {
      symbols.set(type.typeName, file);
      if (type.kind !== "service") continue;
      for (const method of type.methods) symbols.set(`${type.typeName}.${method.name}`, file);
    }
  }
  return symbols;
}

function indexExtensions(files: Iterable<DescFile>): Map<string, Map<number, DescFile>> {
  const extensions = new Map<string, Map<number, DescFile>>();
  for (const file of files) {
    for (const type of nestedTypes(file)) {
      if (type.kind !== "extension") continue;
      const numbers = extensions.get(type.extendee.typeName) ?? new Map<number, DescFile>();
      extensions.set(type.extendee.typeName, numbers.set(type.number, file));
    }
  }
  return extensions;
}
