import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AnalysisReportSchema, AnalysisService } from "@fujie/api/fujie/audit/v1/analysis";
import { transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import { subjectOf } from "@fujie/kit/serve";
import { recordingRefusals } from "../refusals.ts";
import { requirePurpose } from "../search/question.ts";
import { createReport, missingQuarters, type ReportContext } from "./report.ts";
import { findReport, listReports, type ReportRow } from "./store.ts";

export function analysisService(context: ReportContext) {
  const { db } = context;
  return {
    async createReport({ quarter }, call) {
      const report = await createReport(context, quarter, call, subjectOf(call).subject);
      return { report: { ...describeReport(report), document: report.document } };
    },
    getReport: recordingRefusals(context, "report.read", async ({ quarter, purpose }, call) => {
      requirePurpose(purpose);
      const report = await findReport(db, quarter);
      if (report === undefined) throw new DomainError("REPORT_NOT_FOUND");
      await transaction(db, (tx) =>
        recordEvent(context, tx, call, { type: "report.read", outcome: "SUCCESS", purpose, details: { quarter } }),
      );
      return { report: { ...describeReport(report), document: report.document } };
    }),
    async listReports() {
      return {
        reports: (await listReports(db)).map(describeReport),
        missing: (await missingQuarters(context)).map(({ name }) => name),
      };
    },
  } satisfies ServiceImpl<typeof AnalysisService>;
}

function describeReport(row: ReportRow): MessageInitShape<typeof AnalysisReportSchema> {
  const { quarter, createdAtMs, createdBy, thresholdsVersion, findings, digest } = row;
  return {
    quarter,
    createTime: timestampFromMs(createdAtMs),
    createdBy,
    thresholdsVersion,
    findingsCount: BigInt(findings),
    digest,
  };
}
