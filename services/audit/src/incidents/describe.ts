import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type EvidenceSchema,
  type Incident,
  IncidentKind,
  type IncidentSchema,
  type ReportRevisionSchema,
} from "@fujie/api/fujie/audit/v1/incidents";
import { escalationAt, isLate, REPORT_WITHIN_MS } from "./rules.ts";
import type { EvidenceRow, IncidentRow, ReceiptRow, ReportRow } from "./store.ts";

const kinds = ["INTRUSION", "LEAK", "TAMPERING", "OUTAGE", "CRIME", "OTHER"] as const;
export type IncidentKindName = (typeof kinds)[number];

type IncidentFields = Exclude<MessageInitShape<typeof IncidentSchema>, Incident>;

export function kindName(kind: IncidentKind): IncidentKindName {
  return kinds.find((name) => IncidentKind[name] === kind) ?? "OTHER";
}

/** An incident as it is now: what is late is told as late even before the clock has recorded it. */
export function describeIncident(row: IncidentRow, nowMs: number): IncidentFields {
  const { incidentId, kind, drill, detectedAtMs, openedAtMs, openedBy, receivedAtMs } = row;
  const name = kinds.find((each) => each === kind) ?? "OTHER";
  return {
    incidentId,
    kind: IncidentKind[name],
    drill,
    detectTime: timestampFromMs(detectedAtMs),
    openTime: timestampFromMs(openedAtMs),
    deadline: timestampFromMs(detectedAtMs + REPORT_WITHIN_MS),
    openedBy,
    escalation: Math.max(row.escalation, receivedAtMs === null ? escalationAt(detectedAtMs, nowMs) : 0),
    overdue: isLate(detectedAtMs, receivedAtMs ?? nowMs),
  };
}

export function describeEvidence(row: EvidenceRow): MessageInitShape<typeof EvidenceSchema> {
  const { evidenceId, frozenAtMs, frozenBy, entries, digest } = row;
  return { evidenceId, freezeTime: timestampFromMs(frozenAtMs), frozenBy, entries, digest };
}

export function describeReport(
  row: ReportRow,
  document: Uint8Array,
  attempts: number,
  receipt: ReceiptRow | undefined,
): MessageInitShape<typeof ReportRevisionSchema> {
  const { revision, submittedAtMs, submittedBy, digest } = row;
  return {
    revision,
    submitTime: timestampFromMs(submittedAtMs),
    submittedBy,
    digest,
    document,
    attempts,
    ...(receipt === undefined
      ? {}
      : {
          receipt: {
            receiveTime: timestampFromMs(receipt.receivedAtMs),
            signed: receipt.signed,
            digest: receipt.digest,
            answer: receipt.answer,
          },
        }),
  };
}
