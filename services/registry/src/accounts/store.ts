import { type Queryable, statement, type Transaction } from "@fujie/kit/db";
import type { AccountStateName } from "./rules.ts";

export interface AccountRow {
  readonly accountId: string;
  readonly state: AccountStateName;
  readonly level: number;
}

type Row = { [K in keyof AccountRow]: AccountRow[K] };

const COLUMNS = `account_id AS "accountId", state, level`;

const insertRow = statement(
  "account.insert",
  `INSERT INTO account (account_id, state, level, created_at) VALUES ($1, 'PENDING', 1, $2)`,
);
const selectRow = statement("account.find", `SELECT ${COLUMNS} FROM account WHERE account_id = $1`);
const lockRow = statement("account.lock", `SELECT ${COLUMNS} FROM account WHERE account_id = $1 FOR UPDATE`);
const activateRow = statement("account.activate", `UPDATE account SET state = 'ACTIVE' WHERE account_id = $1`);
const suspendRow = statement(
  "account.suspend",
  `UPDATE account SET state = 'SUSPENDED', level = 1 WHERE account_id = $1`,
);
const updateLevel = statement("account.set-level", `UPDATE account SET level = $2 WHERE account_id = $1`);
const cancelRow = statement(
  "account.cancel",
  `UPDATE account SET state = 'CANCELLED', level = 1, cancelled_at = $2 WHERE account_id = $1 AND state <> 'CANCELLED'`,
);

/** A PENDING account of level 1. Its subject must exist. */
export async function insertAccount(tx: Transaction, accountId: string, now: Date): Promise<void> {
  await tx.query(insertRow(accountId, now));
}

export async function findAccount(db: Queryable, accountId: string): Promise<AccountRow | undefined> {
  return (await db.query<Row>(selectRow(accountId))).rows[0];
}

/** Holds the account for the rest of the transaction: whatever decides about it waits. */
export async function lockAccount(tx: Transaction, accountId: string): Promise<AccountRow | undefined> {
  return (await tx.query<Row>(lockRow(accountId))).rows[0];
}

export async function activateAccount(tx: Transaction, accountId: string): Promise<void> {
  await tx.query(activateRow(accountId));
}

/** The level comes back by being derived anew. */
export async function setSuspended(tx: Transaction, accountId: string): Promise<void> {
  await tx.query(suspendRow(accountId));
}

export async function setLevel(tx: Transaction, accountId: string, level: number): Promise<void> {
  await tx.query(updateLevel(accountId, level));
}

/** False when it was cancelled before: that is final. */
export async function setCancelled(tx: Transaction, accountId: string, now: Date): Promise<boolean> {
  return (await tx.query(cancelRow(accountId, now))).rowCount === 1;
}
