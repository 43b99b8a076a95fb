import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { Application } from "./application.ts";

type Row = { [K in keyof Application]: Application[K] };

const COLUMNS = `application_id AS "applicationId", client_id AS "clientId", provider_name AS "providerName", name,
  kind, redirect_uris AS "redirectUris", scopes, sector, purposes, rate_limit_per_second AS "rateLimitPerSecond",
  enabled`;

const insertRow = statement(
  "application.insert",
  `INSERT INTO application (application_id, client_id, provider_name, name, kind, redirect_uris, scopes, sector,
     purposes, rate_limit_per_second, enabled, created_at)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, true, $11)`,
);
const selectRow = statement("application.find", `SELECT ${COLUMNS} FROM application WHERE application_id = $1`);
const selectPage = statement(
  "application.page",
  `SELECT ${COLUMNS} FROM application WHERE application_id > $1 ORDER BY application_id LIMIT $2`,
);
const updateEnabled = statement(
  "application.set-enabled",
  `UPDATE application SET enabled = $2 WHERE application_id = $1 RETURNING ${COLUMNS}`,
);

export async function insertApplication(
  tx: Transaction,
  application: Omit<Application, "enabled">,
  now: Date,
): Promise<void> {
  const { applicationId, clientId, providerName, name, kind, redirectUris, scopes, sector } = application;
  const purposes = JSON.stringify(application.purposes);
  const who = [applicationId, clientId, providerName, name, kind];
  await tx.query(insertRow(...who, redirectUris, scopes, sector, purposes, application.rateLimitPerSecond, now));
}

export async function findApplication(db: Queryable, applicationId: string): Promise<Application | undefined> {
  return (await db.query<Row>(selectRow(applicationId))).rows[0];
}

/** In the order of ids, after the given one. */
export async function pageApplications(db: Queryable, after: string, limit: number): Promise<Application[]> {
  return (await db.query<Row>(selectPage(after, limit))).rows;
}

export async function setEnabled(
  tx: Transaction,
  applicationId: string,
  enabled: boolean,
): Promise<Application | undefined> {
  return (await tx.query<Row>(updateEnabled(applicationId, enabled))).rows[0];
}
