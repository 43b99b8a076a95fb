import { type Queryable, statement } from "@fujie/kit/db";
import type { StoredEntry } from "../log/entry.ts";
import { openRows } from "../log/openings.ts";
import { PACKED_ROW } from "../log/row.ts";

export interface ExportRow {
  readonly exportId: string;
  readonly begin: number;
  readonly end: number;
  readonly purpose: string;
  readonly requestedBy: string;
  readonly approvedBy: string | null;
  readonly approvedAtMs: number | null;
}

type Row = { [K in keyof ExportRow]: ExportRow[K] };

const insertRow = statement(
  "audit.export.insert",
  `INSERT INTO audit.export (export_id, begin_index, end_index, purpose, reason, requested_by, requested_at_ms)
   VALUES ($1, $2, $3, $4, $5, $6, $7)`,
);
const lockRow = statement(
  "audit.export.lock",
  `SELECT export_id AS "exportId", begin_index::float8 AS begin, end_index::float8 AS end, purpose,
     requested_by AS "requestedBy", approved_by AS "approvedBy", approved_at_ms::float8 AS "approvedAtMs"
   FROM audit.export WHERE export_id = $1 FOR UPDATE`,
);
const approveRow = statement(
  "audit.export.approve",
  `UPDATE audit.export SET approved_by = $2, approved_at_ms = $3 WHERE export_id = $1`,
);
const finishRow = statement("audit.export.finish", `UPDATE audit.export SET exported_at_ms = $2 WHERE export_id = $1`);
const readRange = statement(
  "audit.export.entries",
  `SELECT ${PACKED_ROW} AS packed, details, details_key FROM audit.entry
   WHERE index >= $1::bigint AND index < $2::bigint ORDER BY entry.index LIMIT $3`,
);

export async function insertExport(
  tx: Queryable,
  row: Pick<ExportRow, "exportId" | "begin" | "end" | "purpose" | "requestedBy"> & { readonly reason: string },
  nowMs: number,
): Promise<void> {
  await tx.query(insertRow(row.exportId, row.begin, row.end, row.purpose, row.reason, row.requestedBy, nowMs));
}

/** The export, locked until the transaction ends. */
export async function findExport(tx: Queryable, exportId: string): Promise<ExportRow | undefined> {
  return (await tx.query<Row>(lockRow(exportId))).rows[0];
}

export async function approveExport(tx: Queryable, exportId: string, by: string, nowMs: number): Promise<void> {
  await tx.query(approveRow(exportId, by, nowMs));
}

/** Every entry of the range has left: it may end by its age where the platform asks for an export first. */
export async function finishExport(db: Queryable, exportId: string, nowMs: number): Promise<void> {
  await db.query(finishRow(exportId, nowMs));
}

interface EntryRow {
  packed: Buffer;
  details: Buffer | null;
  details_key: string | null;
}

/** Entries from `begin` on, below `end`, at most `limit`. */
export async function readEntries(db: Queryable, begin: number, end: number, limit: number): Promise<StoredEntry[]> {
  const { rows } = await db.query<EntryRow & Record<string, unknown>>(readRange(begin, end, limit));
  const openings = await openRows(db, Buffer.concat(rows.map(({ packed }) => packed)));
  return openings.map((opening, at) => {
    const { details = null, details_key: keyId = null } = rows[at] ?? {};
    return { ...opening, details: details === null || keyId === null ? undefined : { keyId, sealed: details } };
  });
}
