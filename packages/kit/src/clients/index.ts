export { outgoing } from "./outgoing.ts";
export { connectPeer, type Peer, type PeerOptions } from "./peer.ts";
