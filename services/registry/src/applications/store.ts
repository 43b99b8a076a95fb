import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { Application, MutableValues } from "./application.ts";

type Row = { [K in keyof Application]: Application[K] };

const COLUMNS = `application_id AS "applicationId", client_id AS "clientId", provider_name AS "providerName", name,
  kind, redirect_uris AS "redirectUris", scopes, sector, purposes, rate_limit_per_second AS "rateLimitPerSecond",
  daily_limit AS "dailyLimit", weight, enabled, revision`;

const insertRow = statement(
  "application.insert",
  `INSERT INTO application (application_id, client_id, provider_name, name, kind, redirect_uris, scopes, sector,
     purposes, rate_limit_per_second, daily_limit, weight, enabled, created_at)
   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, true, $13)`,
);
const selectRow = statement("application.find", `SELECT ${COLUMNS} FROM application WHERE application_id = $1`);
const selectPage = statement(
  "application.page",
  `SELECT ${COLUMNS} FROM application WHERE application_id > $1 ORDER BY application_id LIMIT $2`,
);
const lockRow = statement(
  "application.lock",
  `SELECT ${COLUMNS} FROM application WHERE application_id = $1 FOR NO KEY UPDATE`,
);
const updateEnabled = statement(
  "application.set-enabled",
  `UPDATE application SET enabled = $2, revision = revision + 1 WHERE application_id = $1 RETURNING ${COLUMNS}`,
);
const updateValues = statement(
  "application.update",
  `UPDATE application SET provider_name = $2, name = $3, redirect_uris = $4, scopes = $5, purposes = $6,
     rate_limit_per_second = $7, daily_limit = $8, weight = $9, revision = revision + 1
   WHERE application_id = $1 RETURNING ${COLUMNS}`,
);

export async function insertApplication(
  tx: Transaction,
  application: Omit<Application, "enabled" | "revision">,
  now: Date,
): Promise<void> {
  const { applicationId, clientId, providerName, name, kind, redirectUris, scopes, sector } = application;
  const purposes = JSON.stringify(application.purposes);
  const who = [applicationId, clientId, providerName, name, kind];
  const limits = [application.rateLimitPerSecond, application.dailyLimit, application.weight];
  await tx.query(insertRow(...who, redirectUris, scopes, sector, purposes, ...limits, now));
}

export async function findApplication(db: Queryable, applicationId: string): Promise<Application | undefined> {
  return (await db.query<Row>(selectRow(applicationId))).rows[0];
}

/** Held until the transaction ends, so that nobody changes it meanwhile. */
export async function lockApplication(tx: Transaction, applicationId: string): Promise<Application | undefined> {
  return (await tx.query<Row>(lockRow(applicationId))).rows[0];
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

export async function updateApplication(
  tx: Transaction,
  applicationId: string,
  { providerName, name, redirectUris, scopes, purposes, rateLimitPerSecond, dailyLimit, weight }: MutableValues,
): Promise<Application | undefined> {
  const values = [providerName, name, redirectUris, scopes, JSON.stringify(purposes)];
  const limits = [rateLimitPerSecond, dailyLimit, weight];
  return (await tx.query<Row>(updateValues(applicationId, ...values, ...limits))).rows[0];
}
