import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  AssessmentKind,
  type CalendarService,
  type RecordAssessmentRequest,
  RecordAssessmentRequestSchema,
  RecordAssessmentResponseSchema,
  type RecordRemediationRequest,
  RecordRemediationRequestSchema,
  RecordRemediationResponseSchema,
} from "@fujie/api/fujie/audit/v1/analysis";
import { uuidv7 } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { writeOnce } from "@fujie/kit/repeatable";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { recordingRefusals } from "../refusals.ts";
import { readCalendar } from "./due.ts";
import { assessmentKinds, hasOpenFindings } from "./rules.ts";
import { findAssessment, insertAssessment, insertRemediation } from "./store.ts";

type CalendarContext = Pick<Context, "db" | "ring" | "clock">;

export function calendarService(context: CalendarContext) {
  return {
    recordAssessment: (request, call) => recordAssessment(context, request, call),
    recordRemediation: recordingRefusals(context, "assessment.remedied", (request, call) =>
      recordRemediation(context, request, call),
    ),
    async listDue() {
      const { due, waiting } = await readCalendar(context);
      return {
        due: due.map(({ kind, lastMs, dueMs, overdue }) => ({
          kind: AssessmentKind[kind],
          dueTime: timestampFromMs(dueMs),
          overdue,
          ...(lastMs === undefined ? {} : { lastDate: timestampFromMs(lastMs) }),
        })),
        open: waiting.map(({ assessment, dueMs, overdue }) => ({
          assessmentId: assessment.assessmentId,
          kind: AssessmentKind[assessment.kind],
          date: timestampFromMs(assessment.dateMs),
          highFindings: assessment.highFindings,
          mediumFindings: assessment.mediumFindings,
          dueTime: timestampFromMs(dueMs),
          overdue,
        })),
      };
    },
  } satisfies ServiceImpl<typeof CalendarService>;
}

async function recordAssessment(context: CalendarContext, request: RecordAssessmentRequest, call: HandlerContext) {
  const recordedAtMs = context.clock.nowMs();
  const kind = assessmentKinds.find((name) => AssessmentKind[name] === request.kind);
  if (kind === undefined) throw fieldError("FIELD_INVALID", "kind", "is no kind");
  const dateMs = request.date === undefined ? Number.NaN : timestampMs(request.date);
  if (!(dateMs >= 0 && dateMs <= recordedAtMs)) throw fieldError("FIELD_INVALID", "date", "lies in the future");
  const schemas = { requestSchema: RecordAssessmentRequestSchema, responseSchema: RecordAssessmentResponseSchema };
  return writeOnce(context, call, { ...schemas, request }, async (tx) => {
    const { passed, highFindings, mediumFindings, lowFindings, documentSha256 } = request;
    const assessmentId = uuidv7(recordedAtMs);
    const findings = { highFindings, mediumFindings, lowFindings };
    const recordedBy = subjectOf(call).subject;
    await insertAssessment(tx, {
      assessmentId,
      kind,
      dateMs,
      recordedAtMs,
      recordedBy,
      passed,
      ...findings,
      documentSha256,
    });
    await recordEvent(context, tx, call, {
      type: "assessment.recorded",
      outcome: passed ? "SUCCESS" : "FAILED",
      digest: documentSha256,
      details: { assessment_id: assessmentId, kind, findings: `${highFindings}/${mediumFindings}/${lowFindings}` },
    });
    return create(RecordAssessmentResponseSchema, { assessmentId });
  });
}

async function recordRemediation(context: CalendarContext, request: RecordRemediationRequest, call: HandlerContext) {
  const schemas = { requestSchema: RecordRemediationRequestSchema, responseSchema: RecordRemediationResponseSchema };
  return writeOnce(context, call, { ...schemas, request }, async (tx) => {
    const { assessmentId, documentSha256 } = request;
    const assessment = await findAssessment(tx, assessmentId);
    if (assessment === undefined) throw new DomainError("ASSESSMENT_NOT_FOUND");
    if (!hasOpenFindings(assessment) || !assessment.open) throw new DomainError("ASSESSMENT_CLOSED");
    const { subject } = subjectOf(call);
    if (!(await insertRemediation(tx, assessmentId, context.clock.nowMs(), subject, documentSha256)))
      throw new DomainError("ASSESSMENT_CLOSED");
    await recordEvent(context, tx, call, {
      type: "assessment.remedied",
      outcome: "SUCCESS",
      digest: documentSha256,
      details: { assessment_id: assessmentId },
    });
    return create(RecordRemediationResponseSchema, {});
  });
}
