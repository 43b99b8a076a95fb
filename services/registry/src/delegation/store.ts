import { isUniqueViolation, type Queryable, statement, type Transaction } from "@fujie/kit/db";
import { DomainError } from "@fujie/kit/errors";
import type { RoleName } from "./rules.ts";

export interface Delegation {
  readonly delegationId: string;
  readonly organisationId: string;
  readonly accountId: string;
  readonly role: RoleName;
  readonly expireAt: Date | null;
}

type Row = { [K in keyof Delegation]: Delegation[K] };

const COLUMNS = `d.delegation_id AS "delegationId", d.organisation_id AS "organisationId",
  d.account_id AS "accountId", d.role, d.expire_at AS "expireAt"`;
/** $n is now. A role whose time is over is none, whether or not the sweeper has been by. */
const LIVE = (now: string) => `d.ended_at IS NULL AND (d.expire_at IS NULL OR d.expire_at > ${now})`;

const insertRow = statement(
  "delegation.insert",
  `INSERT INTO delegation (delegation_id, organisation_id, account_id, role, expire_at, parent_id, granted_at)
   VALUES ($1, $2, $3, $4, $5, $6, $7)`,
);
const selectHeld = statement(
  "delegation.held",
  `SELECT ${COLUMNS} FROM delegation d WHERE d.organisation_id = $1 AND d.account_id = $2 AND ${LIVE("$3")}`,
);
const lockHeld = statement(
  "delegation.lock-held",
  `SELECT ${COLUMNS} FROM delegation d WHERE d.organisation_id = $1 AND d.account_id = $2 AND ${LIVE("$3")} FOR UPDATE`,
);
const selectOne = statement(
  "delegation.find",
  `SELECT ${COLUMNS} FROM delegation d WHERE d.organisation_id = $1 AND d.delegation_id = $2 AND ${LIVE("$3")}`,
);
const selectPage = statement(
  "delegation.page",
  `SELECT ${COLUMNS} FROM delegation d
   WHERE d.organisation_id = $1 AND ${LIVE("$2")} AND d.delegation_id > $3 ORDER BY d.delegation_id LIMIT $4`,
);
const selectOfAccount = statement(
  "delegation.of-account",
  `SELECT ${COLUMNS} FROM delegation d JOIN organisation o USING (organisation_id)
   WHERE d.account_id = $1 AND ${LIVE("$2")} AND o.state = 'ACTIVE' ORDER BY d.delegation_id DESC LIMIT 100`,
);
const selectRepresents = statement(
  "delegation.represents",
  `SELECT EXISTS (
     SELECT FROM delegation d JOIN organisation o USING (organisation_id)
     WHERE d.account_id = $1 AND d.ended_at IS NULL AND d.role = 'LEGAL_REPRESENTATIVE' AND o.state = 'ACTIVE'
   ) AS represents`,
);
// UNION, so that a chain ends even if somebody made it a circle.
const endWithCascade = statement(
  "delegation.end",
  `WITH RECURSIVE ending AS (
     SELECT delegation_id FROM delegation WHERE delegation_id = ANY ($1::uuid[])
     UNION
     SELECT d.delegation_id FROM delegation d JOIN ending e ON d.parent_id = e.delegation_id WHERE d.ended_at IS NULL
   )
   UPDATE delegation d SET ended_at = $2 FROM ending e WHERE d.delegation_id = e.delegation_id AND d.ended_at IS NULL
   RETURNING ${COLUMNS}`,
);
const selectAllOfAccount = statement(
  "delegation.ids-of-account",
  `SELECT delegation_id AS "delegationId" FROM delegation WHERE account_id = $1 AND ended_at IS NULL`,
);
const selectAllIn = statement(
  "delegation.ids-in",
  `SELECT delegation_id AS "delegationId" FROM delegation WHERE organisation_id = $1 AND ended_at IS NULL`,
);
const selectExpired = statement(
  "delegation.expired",
  `SELECT delegation_id AS "delegationId" FROM delegation WHERE ended_at IS NULL AND expire_at <= $1
   ORDER BY expire_at LIMIT $2 FOR UPDATE SKIP LOCKED`,
);
const selectExpiredHeld = statement(
  "delegation.expired-held",
  `SELECT delegation_id AS "delegationId" FROM delegation
   WHERE organisation_id = $1 AND account_id = $2 AND ended_at IS NULL AND expire_at <= $3`,
);

export interface NewDelegation extends Delegation {
  /** Null for the legal representative. */
  readonly parentId: string | null;
  readonly grantedAt: Date;
}

/** Throws DELEGATION_EXISTS when the person has a role there already, or the organisation its legal representative. */
export async function insertDelegation(tx: Transaction, delegation: NewDelegation): Promise<void> {
  const { delegationId, organisationId, accountId, role, expireAt, parentId, grantedAt } = delegation;
  try {
    await tx.query(insertRow(delegationId, organisationId, accountId, role, expireAt, parentId, grantedAt));
  } catch (error) {
    if (isUniqueViolation(error)) throw new DomainError("DELEGATION_EXISTS");
    throw error;
  }
}

/** The role that the person has in the organisation now. */
export async function findHeld(
  db: Queryable,
  organisationId: string,
  accountId: string,
  now: Date,
): Promise<Delegation | undefined> {
  return (await db.query<Row>(selectHeld(organisationId, accountId, now))).rows[0];
}

/** As findHeld, and holds the role until the transaction ends: nobody takes it back while it is used. */
export async function lockHeldRole(
  tx: Transaction,
  organisationId: string,
  accountId: string,
  now: Date,
): Promise<Delegation | undefined> {
  return (await tx.query<Row>(lockHeld(organisationId, accountId, now))).rows[0];
}

export async function findDelegation(
  db: Queryable,
  organisationId: string,
  delegationId: string,
  now: Date,
): Promise<Delegation | undefined> {
  return (await db.query<Row>(selectOne(organisationId, delegationId, now))).rows[0];
}

/** Oldest first, after the given id. */
export async function pageDelegations(
  db: Queryable,
  organisationId: string,
  now: Date,
  after: string,
  limit: number,
): Promise<Delegation[]> {
  return (await db.query<Row>(selectPage(organisationId, now, after, limit))).rows;
}

/** The person's roles in ACTIVE organisations, newest first, at most 100. */
export async function findRolesOf(db: Queryable, accountId: string, now: Date): Promise<Delegation[]> {
  return (await db.query<Row>(selectOfAccount(accountId, now))).rows;
}

export async function representsActiveOrganisation(db: Queryable, accountId: string): Promise<boolean> {
  return (await db.query<{ represents: boolean }>(selectRepresents(accountId))).rows[0]?.represents === true;
}

/**
 * Ends the delegations and all that were given under them. Returns every one that ended. Repeated until nothing is
 * left, because whoever is just giving a role holds his own until he commits, and what he gave is seen only then.
 */
export async function endDelegations(tx: Transaction, ids: readonly string[], now: Date): Promise<Delegation[]> {
  const ended: Delegation[] = [];
  for (let more = ids.length > 0; more; ) {
    const { rows } = await tx.query<Row>(endWithCascade([...ids, ...ended.map((each) => each.delegationId)], now));
    ended.push(...rows);
    more = rows.length > 0;
  }
  return ended;
}

export async function findRoleIdsOf(tx: Transaction, accountId: string): Promise<string[]> {
  return idsOf(await tx.query<{ delegationId: string }>(selectAllOfAccount(accountId)));
}

export async function findRoleIdsIn(tx: Transaction, organisationId: string): Promise<string[]> {
  return idsOf(await tx.query<{ delegationId: string }>(selectAllIn(organisationId)));
}

export async function takeExpired(tx: Transaction, now: Date, batchMax: number): Promise<string[]> {
  return idsOf(await tx.query<{ delegationId: string }>(selectExpired(now, batchMax)));
}

export async function findExpiredHeld(
  tx: Transaction,
  organisationId: string,
  accountId: string,
  now: Date,
): Promise<string[]> {
  return idsOf(await tx.query<{ delegationId: string }>(selectExpiredHeld(organisationId, accountId, now)));
}

function idsOf({ rows }: { readonly rows: readonly { delegationId: string }[] }): string[] {
  return rows.map((row) => row.delegationId);
}
