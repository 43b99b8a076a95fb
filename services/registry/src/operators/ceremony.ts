/*
 * The one-time ceremony that binds the first two administrators:
 *
 *   start without operators ──▶ code into a local file (0600, 24 h; anew at each start while unused)
 *   OpenCeremony(code) ──▶ challenge ──▶ both sign ──▶ BindFirstAdministrators(code, challenge, two proofs) ──▶ closed
 *
 * The row of `ceremony` is unique and final once completed: it cannot run twice, whoever tries. Until it has run nobody
 * can do anything that is recorded, so that its event is the first of the audit log; failed attempts before go to the
 * service's log.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import type { BindFirstAdministratorsRequest, OpenCeremonyRequest } from "@fujie/api/fujie/registry/v1/operators";
import type { CertificateProof } from "@fujie/api/fujie/trust/v1/certificate";
import { type Queryable, type Transaction, transaction, uuidv7 } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import type { VersionedDigest } from "@fujie/kit/keys";
import { recordEvent } from "@fujie/kit/record";
import { type ChallengeBinding, composeChallenge } from "../challenges/rules.ts";
import { findChallenge, insertChallenge, takeChallenge } from "../challenges/store.ts";
import { publishOperator } from "../changes/publish.ts";
import type { Context } from "../context.ts";
import { isSameIdentifier } from "../counter/rules.ts";
import { citizenIdOf, verifyCertificate } from "../gateway/ask.ts";
import { identifierDigests } from "../subjects/vault.ts";
import type { OperatorRoleName } from "./rules.ts";
import { completeCeremony, findCeremony, hasOperators, insertOperator, writeCeremonyCode } from "./store.ts";

const CODE_MS = 24 * 60 * 60_000;
const CHALLENGE_MS = 30 * 60_000;
const BINDING: ChallengeBinding = { purpose: "ceremony", subject: "", session: "" };

/** Offers the ceremony at start, if nobody is an operator yet and a file is configured. */
export async function offerCeremony(context: Pick<Context, "db" | "ring" | "clock" | "ceremony" | "log">) {
  const { db, ring, clock, ceremony, log } = context;
  if (ceremony.file === undefined || (await hasOperators(db))) return;
  const code = randomBytes(20).toString("base64url");
  const expireAt = new Date(clock.nowMs() + CODE_MS);
  if (!(await writeCeremonyCode(db, ring.hmac("blind-index", codeInput(code)).digest, expireAt))) return;
  writePrivately(ceremony.file, `${code}\n`);
  log.info(
    { expires: expireAt.toISOString() },
    "the ceremony of the first administrators is open: its code is on file",
  );
}

/** See OperatorService.OpenCeremony. */
export async function openCeremony(context: Context, request: OpenCeremonyRequest) {
  const { db, clock, issuer } = context;
  await requireCode(context, request.ceremonyCode);
  const challengeId = uuidv7(clock.nowMs());
  const expireAt = new Date(clock.nowMs() + CHALLENGE_MS);
  const message = composeChallenge(issuer, BINDING, challengeId, expireAt);
  await insertChallenge(db, { ...BINDING, challengeId, expireAt, message });
  return { challengeId, message, expireTime: timestampFromDate(expireAt) };
}

/** See OperatorService.BindFirstAdministrators. */
export async function bindFirstAdministrators(
  context: Context,
  request: BindFirstAdministratorsRequest,
  call: HandlerContext,
) {
  const { db, clock, ceremony } = context;
  const codeDigest = await requireCode(context, request.ceremonyCode);
  const message = await findChallenge(db, request.challengeId, BINDING, new Date(clock.nowMs()));
  if (message === undefined) throw new DomainError("CHALLENGE_INVALID");
  const system = await verifyAdministrator(context, message, request.systemAdministrator, call);
  const security = await verifyAdministrator(context, message, request.securityAdministrator, call);
  if (isSameIdentifier(system.digests, security.digests)) throw new DomainError("FOUR_EYES_REQUIRED");

  const ids = await transaction(db, async (tx) => {
    const now = new Date(clock.nowMs());
    if (!(await completeCeremony(tx, codeDigest, now))) throw new DomainError("CEREMONY_CLOSED");
    if (!(await takeChallenge(tx, request.challengeId, BINDING, now))) throw new DomainError("CHALLENGE_INVALID");
    const [systemId, securityId] = [uuidv7(now.getTime()), uuidv7(now.getTime())];
    // First of all events: nothing is enqueued before it.
    await recordEvent(context, tx, call, {
      type: "ceremony.completed",
      outcome: "SUCCESS",
      actor: "ceremony",
      details: { system_administrator: systemId, security_administrator: securityId },
    });
    await bind(context, tx, systemId, "SYSTEM_ADMINISTRATOR", system);
    await bind(context, tx, securityId, "SECURITY_ADMINISTRATOR", security);
    return { systemAdministratorId: systemId, securityAdministratorId: securityId };
  });
  if (ceremony.file !== undefined) rmSync(ceremony.file, { force: true });
  return ids;
}

/** Whether the ceremony has run: from then on its refusals are worth the audit log. */
export async function isCeremonyCompleted(db: Queryable): Promise<boolean> {
  return (await findCeremony(db))?.completedAt instanceof Date;
}

/** Returns the digest on file when the code is the one in force. Throws CEREMONY_CLOSED, CEREMONY_CODE_INVALID. */
async function requireCode({ db, ring, clock, ceremony, log }: Context, code: string): Promise<Buffer> {
  const offered = await findCeremony(db);
  const isOpen = offered !== undefined && offered.completedAt === null && offered.expireAt.getTime() > clock.nowMs();
  if (!isOpen || !ceremony.local) throw new DomainError("CEREMONY_CLOSED");
  if (!ring.hmacMatches("blind-index", codeInput(code), offered.codeDigest)) {
    log.warn("a wrong ceremony code was tried");
    throw new DomainError("CEREMONY_CODE_INVALID");
  }
  return offered.codeDigest;
}

interface Administrator {
  readonly caId: string;
  readonly digests: readonly VersionedDigest[];
}

async function verifyAdministrator(
  context: Context,
  message: Uint8Array,
  proof: CertificateProof | undefined,
  call: HandlerContext,
): Promise<Administrator> {
  if (proof === undefined) throw new DomainError("SIGNATURE_INVALID");
  const holder = await verifyCertificate(context, message, proof, call);
  return { caId: holder.caId, digests: identifierDigests(context.ring, "citizen-id", citizenIdOf(holder)) };
}

async function bind(
  { clock, periods }: Pick<Context, "clock" | "periods">,
  tx: Transaction,
  operatorId: string,
  role: OperatorRoleName,
  { caId, digests }: Administrator,
): Promise<void> {
  const createdAt = new Date(clock.nowMs());
  const reviewedUntil = new Date(clock.nowMs() + periods.reviewMs);
  const isNew = await insertOperator(
    tx,
    { operatorId, role, caId, reviewedUntil, engagementEnd: null, createdAt },
    digests,
  );
  if (!isNew) throw new DomainError("CEREMONY_CLOSED");
  await publishOperator(tx, operatorId);
}

function codeInput(code: string): string {
  return `ceremony-code:${code}`;
}

/** Readable by this user only, and never half written. */
function writePrivately(file: string, text: string): void {
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, text, { mode: 0o600 });
  chmodSync(temporary, 0o600);
  renameSync(temporary, file);
}
