import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import type { CreateEvidencePackRequest } from "@fujie/api/fujie/audit/v1/incidents";
import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import { BUNDLE_ENTRIES_MAX, bundleEntries } from "../documents/entry-bundle.ts";
import { sha256, signDocument } from "../documents/signed.ts";
import { publishedCheckpoint } from "../proofs/published-log.ts";
import { countRead } from "../search/bulk.ts";
import { requirePurpose } from "../search/question.ts";
import { findEntries, noConditions } from "../search/search.ts";

/** See IncidentService.CreateEvidencePack. */
export async function createEvidencePack(context: Context, request: CreateEvidencePackRequest, call: HandlerContext) {
  const { db, ring, clock, logOrigin } = context;
  const { applicationId, startTime, endTime, beforeIndex } = request;
  const purpose = requirePurpose(request.purpose);
  const published = await publishedCheckpoint(db);
  const question = {
    ...noConditions,
    key: "applicationId" as const,
    value: applicationId,
    ...(startTime === undefined ? {} : { startMs: Math.ceil(timestampMs(startTime)) }),
    ...(endTime === undefined ? {} : { endMs: Math.ceil(timestampMs(endTime)) }),
  };
  const before = beforeIndex === 0n ? published.size : Math.min(Number(beforeIndex), published.size);
  const found = await findEntries(db, question, before, BUNDLE_ENTRIES_MAX);
  const head = {
    format: "fujie.audit.evidence-pack.v1",
    applicationId,
    createTime: new Date(clock.nowMs()).toISOString(),
    logOrigin,
  };
  const indexes = found.entries.map(({ index }) => index);
  const bundle = await bundleEntries(context, published, head, indexes);
  const { keyId, signature } = await signDocument(ring, "evidence-pack", bundle);
  const entries = indexes.length;
  await transaction(db, async (tx) => {
    await countRead(context, tx, call, entries);
    await recordEvent(context, tx, call, {
      type: "incident.evidence-packed",
      outcome: "SUCCESS",
      applicationId,
      purpose,
      digest: sha256(bundle),
      details: { entries: String(entries) },
    });
  });
  return { bundle, keyId, signature, entries, nextBeforeIndex: BigInt(found.before ?? 0) };
}
