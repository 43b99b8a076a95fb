import { fromBinary } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { StatusSchema } from "@fujie/api/google/rpc/status";
import type { Metadata } from "@grpc/grpc-js";

/** The details of a gRPC status as ConnectError holds them. Unreadable ones count as none. */
export function readStatusDetails(metadata: Metadata): ConnectError["details"] {
  const [bytes] = metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) return [];
  try {
    return fromBinary(StatusSchema, bytes).details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
      value,
    }));
  } catch {
    return [];
  }
}
