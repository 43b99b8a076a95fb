import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type AssistanceCaseSchema,
  CaseScope,
  type CaseService,
  CaseState,
  type DecideCaseRequest,
  type OpenCaseRequest,
  OpenCaseRequestSchema,
  OpenCaseResponseSchema,
  type ReleaseLogRequest,
} from "@fujie/api/fujie/audit/v1/cases";
import { openPage, pageSize, type Queryable, signPage, transaction, uuidv7 } from "@fujie/kit/db";
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
import { findEntries, noConditions } from "../search/search.ts";
import {
  AUTHENTICATION_TYPES,
  type CaseFacts,
  type CaseScopeName,
  caseScopes,
  expiryMs,
  oneAccount,
  readPeriod,
  requireDecidable,
  requireTellable,
  stateAt,
} from "./rules.ts";
import { type CaseRow, findCase, findDocument, insertCase, insertDecision, insertRelease, pageCases } from "./store.ts";

const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";
/** What one release looks through: an account's whole history fits many times over. */
const LOOKED_AT_MAX = 20_000;

export function caseService(context: Context) {
  const { db, ring, clock } = context;
  return {
    openCase: recordingRefusals(context, "case.opened", (request, call) => openCase(context, request, call)),
    decideCase: recordingRefusals(context, "case.decided", (request, call) => decideCase(context, request, call)),
    releaseLog: recordingRefusals(context, "case.log-released", (request, call) => releaseLog(context, request, call)),
    getCase: async ({ caseId }) => ({ case: describeCase(await requireCase(db, caseId), clock.nowMs()) }),
    async listCases(request) {
      const size = pageSize(request.pageSize, { default: 50, max: 100 });
      const filter = ["cases"];
      const [before = LAST_ID] = openPage(request.pageToken, filter, ring) ?? [];
      const found = await pageCases(db, String(before), size + 1);
      const page = found.slice(0, size);
      const last = found.length > size ? page.at(-1) : undefined;
      return {
        cases: page.map((row) => describeCase(row, clock.nowMs())),
        nextPageToken: last === undefined ? "" : signPage({ filter, cursor: [last.caseId] }, ring),
      };
    },
    getCaseDocument: recordingRefusals(context, "case.document-read", async ({ caseId }, call) => {
      const { documentSha256 } = await requireCase(db, caseId);
      const kept = await findDocument(db, caseId);
      if (kept === undefined) throw new DomainError("CASE_NOT_FOUND");
      const recordSeal = await openRecordSeal(ring, `case:${caseId}`, kept.wrapped);
      const document = recordSeal.open("document", kept.documentSealed);
      await transaction(db, (tx) =>
        recordEvent(context, tx, call, {
          type: "case.document-read",
          outcome: "SUCCESS",
          digest: documentSha256,
          details: { case_id: caseId },
        }),
      );
      return { document };
    }),
  } satisfies ServiceImpl<typeof CaseService>;
}

async function openCase(context: Context, request: OpenCaseRequest, call: HandlerContext) {
  const { clock, ring } = context;
  const documentSha256 = requireDocument(request);
  const accountId = oneAccount(request.accounts);
  const scopes = readScopes(request.scopes);
  const { periodStart, periodEnd } = request;
  const openedAtMs = clock.nowMs();
  const bounds = [periodStart, periodEnd].map((time) => time && timestampMs(time));
  const period = readPeriod(scopes, bounds[0], bounds[1], openedAtMs);
  const schemas = { requestSchema: OpenCaseRequestSchema, responseSchema: OpenCaseResponseSchema };
  return writeOnce(context, call, { ...schemas, request }, async (tx) => {
    const caseId = uuidv7(openedAtMs);
    const recordSeal = await newRecordSeal(ring, `case:${caseId}`);
    const { authority, documentNumber } = request;
    const row = {
      caseId,
      openedAtMs,
      openedBy: subjectOf(call).subject,
      authority,
      documentNumber,
      documentSha256,
      accountId,
      scopes,
      periodStartMs: period?.startMs ?? null,
      periodEndMs: period?.endMs ?? null,
    };
    const documentSealed = recordSeal.seal("document", request.document);
    await insertCase(tx, row, { wrapped: recordSeal.wrapped, documentSealed });
    await recordEvent(context, tx, call, {
      type: "case.opened",
      outcome: "PENDING",
      subject: accountId,
      digest: documentSha256,
      details: { case_id: caseId, scopes: scopes.join(","), authority, document_number: documentNumber },
    });
    const opened = { ...row, approved: null, decidedAtMs: null, decidedBy: null };
    return create(OpenCaseResponseSchema, { case: describeCase(opened, openedAtMs) });
  });
}

function requireDocument({ document, documentSha256 }: OpenCaseRequest): Buffer {
  if (document.length === 0) throw fieldError("CASE_DOCUMENT_REQUIRED", "document", "is missing");
  const digest = sha256(document);
  if (!digest.equals(documentSha256)) throw fieldError("DOCUMENT_DIGEST_MISMATCH", "document_sha256", "does not fit");
  return digest;
}

/** Throws CASE_SCOPE_REFUSED for anything but the two things that the law lets be told. */
function readScopes(scopes: readonly CaseScope[]): readonly CaseScopeName[] {
  const named = scopes.map((scope) => caseScopes.find((name) => CaseScope[name] === scope));
  const known = caseScopes.filter((name) => named.includes(name));
  if (named.length === 0 || named.includes(undefined))
    throw fieldError("CASE_SCOPE_REFUSED", "scopes", "is not the identity or the authentication log");
  return known;
}

async function decideCase(context: Context, { caseId, approved }: DecideCaseRequest, call: HandlerContext) {
  const { db, clock } = context;
  const decidedBy = subjectOf(call).subject;
  const row = await requireCase(db, caseId);
  const decidedAtMs = clock.nowMs();
  requireDecidable(factsOf(row), decidedBy, decidedAtMs);
  await transaction(db, async (tx) => {
    if (!(await insertDecision(tx, caseId, decidedAtMs, decidedBy, approved))) throw new DomainError("CASE_DECIDED");
    await recordEvent(context, tx, call, {
      type: approved ? "case.approved" : "case.refused",
      outcome: "SUCCESS",
      subject: row.accountId,
      digest: row.documentSha256,
      details: { case_id: caseId, opened_by: row.openedBy },
    });
  });
  return { case: describeCase({ ...row, approved, decidedAtMs, decidedBy }, decidedAtMs) };
}

async function releaseLog(context: Context, request: ReleaseLogRequest, call: HandlerContext) {
  const { db, ring, clock } = context;
  const { caseId, accountId } = request;
  const row = await requireCase(db, caseId);
  const releasedAtMs = clock.nowMs();
  requireTellable(factsOf(row), "AUTHENTICATION_LOG", accountId, releasedAtMs);
  const published = await publishedCheckpoint(db);
  const before = request.afterIndex === 0n ? published.size : Math.min(Number(request.afterIndex), published.size);
  const found = await authenticationEntries(db, row, before);
  const head = {
    format: "fujie.audit.release.v1",
    caseId,
    accountId,
    authority: row.authority,
    documentNumber: row.documentNumber,
    documentSha256: row.documentSha256.toString("hex"),
    periodStart: iso(row.periodStartMs),
    periodEnd: iso(row.periodEndMs),
    releaseTime: iso(releasedAtMs),
    logOrigin: context.logOrigin,
  };
  const bundle = await bundleEntries(context, published, head, found.indexes);
  const { keyId, signature } = await signDocument(ring, "release", bundle);
  const entries = found.indexes.length;
  await transaction(db, async (tx) => {
    const digest = sha256(bundle);
    const releasedBy = subjectOf(call).subject;
    await insertRelease(tx, { releaseId: uuidv7(releasedAtMs), caseId, releasedAtMs, releasedBy, entries, digest });
    await recordEvent(context, tx, call, {
      type: "case.log-released",
      outcome: "SUCCESS",
      subject: accountId,
      digest,
      details: { case_id: caseId, entries: String(entries) },
    });
  });
  return { bundle, keyId, signature, entries, nextAfterIndex: BigInt(found.before ?? 0) };
}

/** The account's authentication log within the case's period, newest first; nothing else of the account. */
async function authenticationEntries(db: Queryable, row: CaseRow, from: number) {
  const { accountId, periodStartMs, periodEndMs } = row;
  const period = { startMs: periodStartMs ?? 0, endMs: periodEndMs ?? 0 };
  const question = { ...noConditions, ...period, key: "subject", value: accountId } as const;
  const indexes: number[] = [];
  let before: number | undefined = from;
  for (let lookedAt = 0; before !== undefined && lookedAt < LOOKED_AT_MAX; lookedAt += BUNDLE_ENTRIES_MAX) {
    const page = await findEntries(db, question, before, BUNDLE_ENTRIES_MAX, BUNDLE_ENTRIES_MAX + 1);
    for (const { index, entry } of page.entries) {
      if (!AUTHENTICATION_TYPES.has(entry.type)) continue;
      if (indexes.length === BUNDLE_ENTRIES_MAX) return { indexes, before: indexes.at(-1) ?? 0 };
      indexes.push(index);
    }
    before = page.before;
  }
  return { indexes, before };
}

async function requireCase(db: Queryable, caseId: string): Promise<CaseRow> {
  const found = await findCase(db, caseId);
  if (found === undefined) throw new DomainError("CASE_NOT_FOUND");
  return found;
}

function factsOf(row: CaseRow): CaseFacts {
  const { approved, decidedAtMs } = row;
  return { ...row, decision: approved === null || decidedAtMs === null ? undefined : { approved, decidedAtMs } };
}

function describeCase(row: CaseRow, nowMs: number): MessageInitShape<typeof AssistanceCaseSchema> {
  const { caseId, authority, documentNumber, documentSha256, accountId, openedBy, decidedBy } = row;
  const facts = factsOf(row);
  return {
    caseId,
    state: CaseState[stateAt(facts, nowMs)],
    authority,
    documentNumber,
    documentSha256,
    accountId,
    scopes: row.scopes.map((name) => CaseScope[name]),
    openTime: timestampFromMs(row.openedAtMs),
    openedBy,
    decidedBy: decidedBy ?? "",
    expireTime: timestampFromMs(expiryMs(facts)),
    ...(row.periodStartMs === null ? {} : { periodStart: timestampFromMs(row.periodStartMs) }),
    ...(row.periodEndMs === null ? {} : { periodEnd: timestampFromMs(row.periodEndMs) }),
    ...(row.decidedAtMs === null ? {} : { decideTime: timestampFromMs(row.decidedAtMs) }),
  };
}

function iso(ms: number | null): string {
  return ms === null ? "" : new Date(ms).toISOString();
}
