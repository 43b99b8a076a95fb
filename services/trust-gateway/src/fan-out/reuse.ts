/**
 * Words that sources gave a short while ago and that may be used again: for the same application (or the registry), the
 * same purpose, the same elements and under the same policy, as that policy says. What is negative is used again for a
 * minute at most. They lie in the ephemeral store, each under a keyed digest and with a MAC: whoever can write there can
 * neither read of whom they speak, nor make one up, nor move one to another question.
 */

import { uuidv7 } from "@fujie/kit/db";
import type { Ephemeral } from "@fujie/kit/ephemeral";
import type { KeyRing } from "@fujie/kit/keys";
import type { EvidenceRow } from "../evidence/mac.ts";
import type { Evidence, Verdict } from "../evidence/rules.ts";
import { CLOCK_SKEW_MS } from "../sources/source.ts";

/** A word at hand, with the evidence that it was taken from. */
export interface KnownWord extends Evidence {
  readonly verdict: "MATCH" | "MISMATCH" | "NO_RECORD";
  readonly evidenceId: string;
}

export interface Reusing {
  readonly ephemeral: Pick<Ephemeral, "get" | "set">;
  readonly ring: Pick<KeyRing, "hmac" | "hmacMatches">;
}

const NEGATIVE_MS_MAX = 60_000;
const MAC_TAG = "fujie-reused-words-v1\n";

/** Whether the word may be used again at that moment. */
export function isFresh({ verdict, checkedAtMs }: Evidence, reuseMs: number, nowMs: number): boolean {
  const keptMs = verdict === "MATCH" ? reuseMs : Math.min(reuseMs, NEGATIVE_MS_MAX);
  return nowMs - checkedAtMs < keptMs && checkedAtMs <= nowMs + CLOCK_SKEW_MS;
}

/** The fresh words kept under the key; none when there are none, they are not ours, or the store is away. */
export async function findWords(
  { ephemeral, ring }: Reusing,
  key: string,
  reuseMs: number,
  nowMs: number,
): Promise<readonly KnownWord[]> {
  if (reuseMs === 0) return [];
  const kept = await ephemeral.get(`words:${key}`).catch(() => undefined);
  if (kept === undefined) return [];
  return genuineWords(ring, key, kept).filter((word) => isFresh(word, reuseMs, nowMs));
}

interface Genuine {
  readonly kept: string;
  readonly words: readonly KnownWord[];
}

/** By key, what was found genuine before: the store may hold another text by now, but the same one stays ours. */
const genuine = new WeakMap<Reusing["ring"], Map<string, Genuine>>();
const GENUINE_MAX = 10_000;

function genuineWords(ring: Reusing["ring"], key: string, kept: string): readonly KnownWord[] {
  const known = genuine.get(ring) ?? new Map<string, Genuine>();
  const before = known.get(key);
  if (before?.kept === kept) return before.words;
  const [mac = "", text = ""] = kept.split(" ", 2);
  if (!ring.hmacMatches("evidence", macText(key, text), Buffer.from(mac, "base64url"))) return [];
  const words = readWords(text);
  if (known.size >= GENUINE_MAX) known.clear();
  genuine.set(ring, known.set(key, { kept, words }));
  return words;
}

/** Keeps what may be used again. Throws where the store is away. */
export async function keepWords(
  { ephemeral, ring }: Reusing,
  key: string,
  rows: readonly EvidenceRow[],
  reuseMs: number,
  nowMs: number,
): Promise<void> {
  const fresh = rows.filter((row) => isKept(row.verdict) && isFresh(row, reuseMs, nowMs));
  if (fresh.length === 0) return;
  const text = fresh
    .map(({ sourceId, verdict, level, checkedAtMs, evidenceId, reusedFrom }) =>
      [sourceId, verdict, level, checkedAtMs, reusedFrom ?? evidenceId].join(":"),
    )
    .join(",");
  const mac = ring.hmac("evidence", macText(key, text)).digest.toString("base64url");
  const ttlMs = fresh.some(({ verdict }) => verdict === "MATCH") ? reuseMs : Math.min(reuseMs, NEGATIVE_MS_MAX);
  await ephemeral.set(`words:${key}`, `${mac} ${text}`, { ttlMs });
}

/** The words as evidence about another verification. */
export function reusedRows(
  words: readonly KnownWord[],
  { verificationId, elementsDigest }: { readonly verificationId: string; readonly elementsDigest: Uint8Array },
  nowMs: number,
): EvidenceRow[] {
  return words.map(({ evidenceId, ...word }) => ({
    ...word,
    evidenceId: uuidv7(nowMs),
    verificationId,
    subjectDigest: elementsDigest,
    reusedFrom: evidenceId,
  }));
}

function macText(key: string, text: string): string {
  return `${MAC_TAG}${key}\n${text}`;
}

/** What `keepWords` wrote; only read once its MAC was found right. */
function readWords(text: string): KnownWord[] {
  return text.split(",").flatMap((word): KnownWord[] => {
    const [sourceId = "", verdict = "", level, checkedAtMs, evidenceId = ""] = word.split(":");
    if (!isKept(verdict)) return [];
    return [{ sourceId, verdict, level: Number(level), checkedAtMs: Number(checkedAtMs), evidenceId }];
  });
}

function isKept(verdict: Verdict | string): verdict is KnownWord["verdict"] {
  return verdict === "MATCH" || verdict === "MISMATCH" || verdict === "NO_RECORD";
}
