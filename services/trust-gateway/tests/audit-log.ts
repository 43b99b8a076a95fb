/** A hand-written audit log behind a real socket: it keeps events, and proves them as the real one does. */
import { randomBytes } from "node:crypto";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Event, IngestService, Outcome } from "@fujie/api/fujie/audit/v1/ingest";
import { LogService } from "@fujie/api/fujie/audit/v1/log";
import { DomainError } from "@fujie/kit/errors";
import type { KeyRing } from "@fujie/kit/keys";
import { handler } from "@fujie/kit/serve";
import {
  append,
  createSigner,
  emptyFrontier,
  encodeEntry,
  encodeSm2Signature,
  entryLeafHash,
  formatCheckpoint,
  formatProofBundle,
  proveInclusion,
  readNodesOf,
  root,
  type Signer,
  signNote,
} from "@fujie/transparency";

const ORIGIN = "audit.fujie.test/log";

interface Leaf {
  readonly preimage: Uint8Array;
  readonly salt: Uint8Array;
}

/** `events` is the log, in its order; who gave them is not looked at. */
export function auditLog(ring: KeyRing, events: Event[]) {
  const leaves = new Map<string, Leaf>();
  const leafOf = (event: Event): Leaf => {
    const leaf = leaves.get(event.eventId) ?? { preimage: preimageOf(event), salt: new Uint8Array(randomBytes(32)) };
    leaves.set(event.eventId, leaf);
    return leaf;
  };
  const ingest = handler(IngestService, {
    appendEvents: ({ events: batch }) => {
      const known = new Set(events.map(({ eventId }) => eventId));
      events.push(...batch.filter(({ eventId }) => !known.has(eventId)));
      return { indexes: batch.map((_, i) => BigInt(i)) };
    },
    async *streamEvents() {},
  });
  const proofs = handler(LogService, {
    async getEventProof({ eventId }) {
      const index = events.findIndex((event) => event.eventId === eventId);
      const event = events[index];
      if (event === undefined) throw new DomainError("ENTRY_NOT_FOUND");
      const hashes = events.map(leafOf).map(({ preimage, salt }) => entryLeafHash(preimage, salt));
      const head = { origin: ORIGIN, size: hashes.length, root: root(append(emptyFrontier(), hashes)) };
      const path = proveInclusion(index, hashes.length, readNodesOf(hashes));
      const checkpoint = await signNote(formatCheckpoint({ ...head, extensions: [] }), signersOf(ring));
      return { ...leafOf(event), proofBundle: formatProofBundle({ index, path, checkpoint }) };
    },
    getCheckpoint: notServedHere,
    getInclusionProof: notServedHere,
    getConsistencyProof: notServedHere,
    listEntries: notServedHere,
    getEntry: notServedHere,
    requestBulkRead: notServedHere,
    getBulkRead: notServedHere,
    approveBulkRead: notServedHere,
  });
  return [ingest, proofs];
}

/** The log's Ed25519 and SM2 keys, under its origin as their name. */
function signersOf(ring: KeyRing): Signer[] {
  const uses = { checkpoint: "ed25519", "checkpoint-sm2": "sm2" } as const;
  return ring.publicKeys().flatMap(({ use, jwk: { x = "", y = "" } }) => {
    if (use !== "checkpoint" && use !== "checkpoint-sm2") return [];
    const [left, right] = [Buffer.from(x, "base64url"), Buffer.from(y, "base64url")];
    const publicKey = use === "checkpoint" ? left : Buffer.concat([Buffer.of(4), left, right]);
    const sign = async (text: Uint8Array) => {
      const { signature } = await ring.sign(use, text);
      return use === "checkpoint" ? signature : encodeSm2Signature(signature);
    };
    return [createSigner({ name: ORIGIN, algorithm: uses[use], publicKey }, sign)];
  });
}

function preimageOf(event: Event): Uint8Array {
  const { eventId, type, actor, subject, applicationId, organisationId, traceId, purpose, reason, digest } = event;
  return encodeEntry({
    ...{ eventId, type, actor, subject, applicationId, organisationId, traceId, purpose, reason, digest },
    service: "trust-gateway",
    timeMs: event.time === undefined ? 0 : timestampMs(event.time),
    outcome: Outcome[event.outcome],
    detailsSha256: new Uint8Array(),
  });
}

function notServedHere(): never {
  throw new DomainError("METHOD_UNKNOWN");
}
