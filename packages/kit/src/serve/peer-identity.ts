import { TLSSocket } from "node:tls";
import { peerNameFromCertificate } from "../tls/index.ts";
import { noPeer, type PeerIdentity } from "./call.ts";

const refusedPeer: PeerIdentity = { name: undefined, refused: true };

/**
 * Who is at the other end of a connection. Without a client certificate nobody is named; a certificate that does not
 * chain to the platform's authority, has expired, or names no service, refuses every call on the connection.
 */
export function readPeerIdentity(socket: unknown): PeerIdentity {
  if (!(socket instanceof TLSSocket)) return noPeer;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return noPeer;
  const name = socket.authorized ? peerNameFromCertificate(certificate) : undefined;
  return name === undefined ? refusedPeer : { name, refused: false };
}
