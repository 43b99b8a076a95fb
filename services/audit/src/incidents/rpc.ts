import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type AmendReportRequest,
  AmendReportRequestSchema,
  AmendReportResponseSchema,
  type EvidenceQuery,
  type FreezeEvidenceRequest,
  FreezeEvidenceRequestSchema,
  FreezeEvidenceResponseSchema,
  type GetBlastRadiusRequest,
  type IncidentService,
  type OpenIncidentRequest,
  OpenIncidentRequestSchema,
  OpenIncidentResponseSchema,
  type ReportParts as ReportPartsMessage,
  type SubmitReportRequest,
  SubmitReportRequestSchema,
  SubmitReportResponseSchema,
} from "@fujie/api/fujie/audit/v1/incidents";
import { openPage, pageSize, type Queryable, signPage, type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { writeOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { BUNDLE_ENTRIES_MAX, bundleEntries } from "../documents/entry-bundle.ts";
import { newRecordSeal, openRecordSeal } from "../documents/sealed.ts";
import { sha256, signDocument } from "../documents/signed.ts";
import { publishedCheckpoint } from "../proofs/published-log.ts";
import { recordingRefusals } from "../refusals.ts";
import { countRead } from "../search/bulk.ts";
import { requirePurpose } from "../search/question.ts";
import { findEntries, noConditions, type Question } from "../search/search.ts";
import { describeEvidence, describeIncident, describeReport, kindName } from "./describe.ts";
import { createEvidencePack } from "./evidence-pack.ts";
import { measureRadius } from "./radius.ts";
import { composeReport, detectionMs, type ReportParts, requireAmendment, requireComplete } from "./rules.ts";
import {
  evidenceOf,
  findBundle,
  findIncident,
  type IncidentRow,
  insertEvidence,
  insertIncident,
  insertReport,
  lockRevisions,
  pageIncidents,
  type ReportRow,
  receiptsOf,
  reportsOf,
} from "./store.ts";

const IDS_MAX = 1_000;
const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

export function incidentService(context: Context) {
  return {
    openIncident: (request, call) => openIncident(context, request, call),
    freezeEvidence: recordingRefusals(context, "incident.evidence-frozen", (request, call) =>
      freezeEvidence(context, request, call),
    ),
    getEvidence: recordingRefusals(context, "incident.evidence-read", async ({ evidenceId, purpose }, call) => {
      requirePurpose(purpose);
      const found = await findBundle(context.db, evidenceId);
      if (found === undefined) throw new DomainError("EVIDENCE_NOT_FOUND");
      const { incidentId, digest, entries } = found;
      await transaction(context.db, (tx) => countRead(context, tx, call, entries));
      await recordRead(
        context,
        call,
        "incident.evidence-read",
        purpose,
        { incident_id: incidentId, evidence_id: evidenceId },
        digest,
      );
      return { bundle: found.bundle };
    }),
    getBlastRadius: recordingRefusals(context, "incident.radius-read", (request, call) =>
      getBlastRadius(context, request, call),
    ),
    createEvidencePack: recordingRefusals(context, "incident.evidence-packed", (request, call) =>
      createEvidencePack(context, request, call),
    ),
    submitReport: recordingRefusals(context, "incident.report-submitted", (request, call) =>
      submitReport(context, request, call),
    ),
    amendReport: recordingRefusals(context, "incident.report-amended", (request, call) =>
      amendReport(context, request, call),
    ),
    getIncident: ({ incidentId }) => getIncident(context, incidentId),
    async listIncidents(request) {
      const size = pageSize(request.pageSize, { default: 50, max: 100 });
      const filter = ["incidents"];
      const [before = LAST_ID] = openPage(request.pageToken, filter, context.ring) ?? [];
      const found = await pageIncidents(context.db, String(before), size + 1);
      const page = found.slice(0, size);
      const last = found.length > size ? page.at(-1) : undefined;
      return {
        incidents: page.map((row) => describeIncident(row, context.clock.nowMs())),
        nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.incidentId] }, context.ring),
      };
    },
  } satisfies ServiceImpl<typeof IncidentService>;
}

async function openIncident(context: Context, request: OpenIncidentRequest, call: HandlerContext) {
  const schemas = { requestSchema: OpenIncidentRequestSchema, responseSchema: OpenIncidentResponseSchema };
  return writeOnce(context, call, { ...schemas, request }, async (tx) => {
    const { detectTime, drill, summary } = request;
    const openedAtMs = context.clock.nowMs();
    const detectedAtMs = detectionMs(detectTime && timestampMs(detectTime), openedAtMs);
    const incidentId = uuidv7(openedAtMs);
    const recordSeal = await newRecordSeal(context.ring, `incident:${incidentId}`);
    const row = {
      incidentId,
      kind: kindName(request.kind),
      drill,
      detectedAtMs,
      openedAtMs,
      openedBy: subjectOf(call).subject,
      wrapped: recordSeal.wrapped,
      summarySealed: recordSeal.seal("summary", Buffer.from(summary)),
    };
    await insertIncident(tx, row);
    await recordEvent(context, tx, call, {
      type: "incident.opened",
      outcome: "PENDING",
      digest: sha256(Buffer.from(summary)),
      details: {
        incident_id: incidentId,
        kind: row.kind,
        drill: String(drill),
        detect_time: new Date(detectedAtMs).toISOString(),
      },
    });
    const incident = describeIncident({ ...row, escalation: 0, receivedAtMs: null }, openedAtMs);
    return create(OpenIncidentResponseSchema, { incident: { ...incident, summary } });
  });
}

async function requireIncident(db: Queryable, incidentId: string): Promise<IncidentRow> {
  const incident = await findIncident(db, incidentId);
  if (incident === undefined) throw new DomainError("INCIDENT_NOT_FOUND");
  return incident;
}

async function freezeEvidence(context: Context, request: FreezeEvidenceRequest, call: HandlerContext) {
  const { db, clock } = context;
  const { incidentId } = request;
  await requireIncident(db, incidentId);
  const published = await publishedCheckpoint(db);
  const indexes = await indexesToFreeze(db, request, published.size);
  const frozenAtMs = clock.nowMs();
  const evidenceId = uuidv7(frozenAtMs);
  const head = {
    format: "fujie.audit.evidence.v1",
    incidentId,
    evidenceId,
    freezeTime: new Date(frozenAtMs).toISOString(),
  };
  const bundle = await bundleEntries(context, published, head, indexes);
  const schemas = { requestSchema: FreezeEvidenceRequestSchema, responseSchema: FreezeEvidenceResponseSchema };
  return writeOnce(context, call, { ...schemas, request }, async (tx) => {
    const digest = sha256(bundle);
    const frozenBy = subjectOf(call).subject;
    const row = { evidenceId, incidentId, frozenAtMs, frozenBy, entries: indexes.length, digest };
    await insertEvidence(tx, row, bundle);
    await recordEvent(context, tx, call, {
      type: "incident.evidence-frozen",
      outcome: "SUCCESS",
      digest,
      details: { incident_id: incidentId, evidence_id: evidenceId, entries: String(indexes.length) },
    });
    return create(FreezeEvidenceResponseSchema, { evidence: describeEvidence(row) });
  });
}

async function indexesToFreeze(db: Queryable, request: FreezeEvidenceRequest, size: number): Promise<number[]> {
  const named = new Set(request.indexes.map(Number));
  if (request.query !== undefined) {
    const question = questionOf(request.query);
    let before: number | undefined = size;
    while (before !== undefined && named.size <= BUNDLE_ENTRIES_MAX) {
      const page = await findEntries(db, question, before, BUNDLE_ENTRIES_MAX);
      for (const { index } of page.entries) named.add(index);
      before = page.before;
    }
  }
  if (named.size === 0) throw fieldError("EVIDENCE_EMPTY", "indexes", "names nothing, and the query finds nothing");
  if (named.size > BUNDLE_ENTRIES_MAX) throw fieldError("EVIDENCE_TOO_LARGE", "query", "finds more than 500 entries");
  return [...named].sort((a, b) => a - b);
}

function questionOf({ by, startTime, endTime }: EvidenceQuery): Question {
  if (by.case === undefined) throw fieldError("FIELD_INVALID", "query.by", "is missing");
  return {
    ...noConditions,
    key: by.case,
    value: by.value,
    ...(startTime === undefined ? {} : { startMs: Math.ceil(timestampMs(startTime)) }),
    ...(endTime === undefined ? {} : { endMs: Math.ceil(timestampMs(endTime)) }),
  };
}

async function getBlastRadius(context: Context, request: GetBlastRadiusRequest, call: HandlerContext) {
  const { incidentId, purpose, query } = request;
  requirePurpose(purpose);
  await requireIncident(context.db, incidentId);
  if (query === undefined) throw fieldError("FIELD_INVALID", "query", "is missing");
  const question = questionOf(query);
  const { size } = await publishedCheckpoint(context.db);
  const radius = await measureRadius(context, question, size);
  const { entries, truncated, subjects, applications, sources, services } = radius;
  await recordRead(context, call, "incident.radius-read", purpose, {
    incident_id: incidentId,
    filter: question.key,
    value: question.value,
    entries: String(entries),
  });
  const some = (ids: ReadonlySet<string>): string[] => [...ids].sort().slice(0, IDS_MAX);
  return {
    entries: BigInt(entries),
    truncated,
    subjectCount: BigInt(subjects.size),
    subjects: some(subjects),
    applicationCount: BigInt(applications.size),
    applications: some(applications),
    sourceCount: BigInt(sources.size),
    sources: some(sources),
    services: some(services),
  };
}

function partsOf(parts: ReportPartsMessage | undefined): ReportParts {
  const { scope = "", harm = "", measures = "", rectification = "", occurTime } = parts ?? {};
  return { scope, harm, measures, rectification, occurredAtMs: occurTime && timestampMs(occurTime) };
}

async function submitReport(context: Context, request: SubmitReportRequest, call: HandlerContext) {
  const schemas = { requestSchema: SubmitReportRequestSchema, responseSchema: SubmitReportResponseSchema };
  return writeOnce(context, call, { ...schemas, request }, async (tx) => {
    const incident = await requireIncident(tx, request.incidentId);
    const parts = partsOf(request.parts);
    requireComplete(parts, context.clock.nowMs());
    if ((await lockRevisions(tx, incident.incidentId)) > 0) throw new DomainError("INCIDENT_REPORT_EXISTS");
    const report = await addRevision(context, tx, call, { incident, revision: 1, parts, reason: "" });
    return create(SubmitReportResponseSchema, { report });
  });
}

async function amendReport(context: Context, request: AmendReportRequest, call: HandlerContext) {
  const schemas = { requestSchema: AmendReportRequestSchema, responseSchema: AmendReportResponseSchema };
  return writeOnce(context, call, { ...schemas, request }, async (tx) => {
    const { reason } = request;
    const incident = await requireIncident(tx, request.incidentId);
    const parts = partsOf(request.parts);
    requireAmendment(reason, parts, context.clock.nowMs());
    const revisions = await lockRevisions(tx, incident.incidentId);
    if (revisions === 0) throw new DomainError("INCIDENT_REPORT_MISSING");
    const report = await addRevision(context, tx, call, { incident, revision: revisions + 1, parts, reason });
    return create(AmendReportResponseSchema, { report });
  });
}

interface Revision {
  readonly incident: IncidentRow;
  readonly revision: number;
  readonly parts: ReportParts;
  readonly reason: string;
}

/** Signs, keeps and records a revision, and puts it on its way: all with the transaction. */
async function addRevision(context: Context, tx: Transaction, call: HandlerContext, added: Revision) {
  const { incident, revision, parts, reason } = added;
  const { incidentId } = incident;
  const submittedAtMs = context.clock.nowMs();
  const evidence = (await evidenceOf(tx, incidentId)).map(({ digest }) => digest);
  const head = { ...incident, revision, submittedAtMs, logOrigin: context.logOrigin, evidence };
  const document = composeReport(head, parts, reason);
  const { keyId, signature } = await signDocument(context.ring, "incident-report", document);
  const recordSeal = await openRecordSeal(context.ring, `incident:${incidentId}`, incident.wrapped);
  const row: ReportRow = {
    incidentId,
    revision,
    submittedAtMs,
    submittedBy: subjectOf(call).subject,
    digest: sha256(document),
    documentSealed: recordSeal.seal(`report:${revision}`, document),
    keyId,
    signature: Buffer.from(signature),
  };
  await insertReport(tx, row);
  await recordEvent(context, tx, call, {
    type: revision === 1 ? "incident.report-submitted" : "incident.report-amended",
    outcome: "SUCCESS",
    digest: row.digest,
    details: { incident_id: incidentId, revision: String(revision), drill: String(incident.drill) },
  });
  return describeReport(row, document, 0, undefined);
}

async function getIncident(context: Context, incidentId: string) {
  const { db, ring, clock } = context;
  const incident = await requireIncident(db, incidentId);
  const recordSeal = await openRecordSeal(ring, `incident:${incidentId}`, incident.wrapped);
  const receipts = new Map((await receiptsOf(db, incidentId)).map((receipt) => [receipt.revision, receipt]));
  const reports = (await reportsOf(db, incidentId)).map((row) => {
    const document = recordSeal.open(`report:${row.revision}`, row.documentSealed);
    return describeReport(row, document, row.attempts, receipts.get(row.revision));
  });
  const evidence = (await evidenceOf(db, incidentId)).map(describeEvidence);
  const summary = recordSeal.open("summary", incident.summarySealed).toString();
  return { incident: { ...describeIncident(incident, clock.nowMs()), summary, reports, evidence } };
}

async function recordRead(
  context: Pick<Context, "db" | "ring" | "clock">,
  call: HandlerContext,
  type: string,
  purpose: string,
  details: Readonly<Record<string, string>>,
  digest?: Uint8Array,
): Promise<void> {
  const event = { type, outcome: "SUCCESS", purpose, details, ...(digest === undefined ? {} : { digest }) } as const;
  await transaction(context.db, (tx) => recordEvent(context, tx, call, event));
}
