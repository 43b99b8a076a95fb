/*
 * A report on its way to the managing authority:
 *
 *   submitted ─▶ due ─▶ POST (signed) ─▶ answer accepted ─▶ receipt, for good
 *                 ▲          └── refused, unsigned, unreachable: tried again, 10 s to 5 min apart, for ever
 *                 └──────────────────┘
 *
 * The same report may arrive twice; its digest tells.
 */
import { type KeyObject, verify } from "node:crypto";
import { transaction } from "@fujie/kit/db";
import { recordEvent } from "@fujie/kit/record";
import { backoffMs } from "@fujie/kit/timers";
import type { Context } from "../context.ts";
import { openRecordSeal } from "../documents/sealed.ts";
import { sha256 } from "../documents/signed.ts";
import type { Authority } from "./authority.ts";
import { isLate } from "./rules.ts";
import {
  type ClaimedDelivery,
  findIncident,
  type IncidentRow,
  insertReceipt,
  postpone,
  type ReportRow,
  reportsOf,
  takeDeliveries,
} from "./store.ts";

type DeliveryContext = Pick<Context, "db" | "ring" | "clock" | "log"> & { readonly authority: Authority };

const RETRY = { baseMs: 10_000, capMs: 300_000 };
/** Longer than a call may take. */
const CLAIM_MS = 60_000;

/** Tries at most `batchMax` deliveries that are due; returns how many were tried. */
export async function deliverReports(context: DeliveryContext, batchMax: number): Promise<number> {
  const { db, clock, log, authority } = context;
  if (authority.url === undefined) return 0;
  const claimed = await takeDeliveries(db, clock.nowMs(), clock.nowMs() + CLAIM_MS, Math.min(batchMax, 10));
  for (const delivery of claimed) {
    const { incidentId, revision, attempts } = delivery;
    await deliver(context, authority.url, delivery).catch(async (error: unknown) => {
      log.error({ error, incidentId, revision, attempts }, "an incident report was not delivered");
      await postpone(db, delivery, clock.nowMs() + backoffMs(attempts, RETRY));
    });
  }
  return claimed.length;
}

async function deliver(context: DeliveryContext, url: string, delivery: ClaimedDelivery): Promise<void> {
  const { db, ring, clock, authority } = context;
  const incident = await findIncident(db, delivery.incidentId);
  const report = (await reportsOf(db, delivery.incidentId)).find(({ revision }) => revision === delivery.revision);
  if (incident === undefined || report === undefined) throw new Error("a report vanished");
  const recordSeal = await openRecordSeal(ring, `incident:${incident.incidentId}`, incident.wrapped);
  const document = recordSeal.open(`report:${report.revision}`, report.documentSealed);
  const { status, body } = await authority.egress(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...(incident.drill ? { "x-fujie-drill": "true" } : {}) },
    body: envelopeOf(report, document),
  });
  if (status < 200 || status > 299) throw new Error(`the authority answered ${status}`);
  const signed = authority.key !== undefined;
  if (authority.key !== undefined && !acknowledges(body, report.digest, authority.key))
    throw new Error("the authority's acknowledgement is not signed for this report");
  const receivedAtMs = clock.nowMs();
  await transaction(db, async (tx) => {
    const receipt = { ...delivery, receivedAtMs, signed, digest: sha256(body), answer: body };
    if (!(await insertReceipt(tx, receipt))) return;
    await recordEvent(
      context,
      tx,
      { service: "audit" },
      {
        type: "incident.report-delivered",
        outcome: "SUCCESS",
        digest: receipt.digest,
        details: deliveryDetails(incident, report, receivedAtMs),
      },
    );
  });
}

/** What the authority gets: the exact bytes that are signed, and the signature over them. */
export function envelopeOf({ keyId, signature }: Pick<ReportRow, "keyId" | "signature">, document: Buffer): string {
  return JSON.stringify({
    document: document.toString("base64"),
    keyId,
    signature: signature.toString("base64"),
  });
}

/**
 * Whether an answer is a signed acknowledgement of the report: JSON {"acknowledgement", "signature"}, both base64; the
 * first is JSON with `documentSha256` in hexadecimal, the second covers its bytes (Ed25519, or ECDSA or RSA with
 * SHA-256).
 */
export function acknowledges(answer: Buffer, digest: Uint8Array, key: KeyObject): boolean {
  const envelope = parsed(answer);
  const bytes = base64Of(envelope, "acknowledgement");
  const signature = base64Of(envelope, "signature");
  if (bytes === undefined || signature === undefined) return false;
  if (!verify(key.asymmetricKeyType === "ed25519" ? null : "sha256", bytes, key, signature)) return false;
  const said = parsed(bytes);
  return Object.hasOwn(said, "documentSha256") && said["documentSha256"] === Buffer.from(digest).toString("hex");
}

function parsed(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function base64Of(envelope: Readonly<Record<string, unknown>>, name: string): Buffer | undefined {
  const value = envelope[name];
  return typeof value === "string" ? Buffer.from(value, "base64") : undefined;
}

function deliveryDetails(incident: IncidentRow, report: ReportRow, receivedAtMs: number): Record<string, string> {
  const { incidentId, detectedAtMs, drill } = incident;
  return {
    incident_id: incidentId,
    revision: String(report.revision),
    drill: String(drill),
    late: String(report.revision === 1 && isLate(detectedAtMs, receivedAtMs)),
  };
}
