import { type Queryable, statement, type Transaction } from "@fujie/kit/db";

export interface PolicyStamp {
  readonly version: number;
  readonly appliedAtMs: number;
  readonly renewedAtMs: number;
}

const columns = `version::float8 AS version, applied_at_ms::float8 AS "appliedAtMs", renewed_at_ms::float8 AS "renewedAtMs"`;

// An older version changes nothing; the same one renews; a newer one replaces.
const upsert = statement(
  "policy.put",
  `INSERT INTO trust.policy AS p (version, content, applied_at_ms, renewed_at_ms) VALUES ($1, $2, $3, $3)
   ON CONFLICT (only_one) DO UPDATE SET
     version = excluded.version,
     content = CASE WHEN p.version < excluded.version THEN excluded.content ELSE p.content END,
     applied_at_ms = CASE WHEN p.version < excluded.version THEN excluded.applied_at_ms ELSE p.applied_at_ms END,
     renewed_at_ms = greatest(p.renewed_at_ms, excluded.renewed_at_ms)
   WHERE p.version <= excluded.version`,
);
const selectStamp = statement("policy.stamp", `SELECT ${columns} FROM trust.policy`);
const selectContent = statement("policy.content", `SELECT ${columns}, content FROM trust.policy`);

/** Takes a version unless a newer one is in force. */
export async function putPolicy(
  tx: Transaction,
  policy: { readonly version: bigint; readonly content: Uint8Array; readonly nowMs: number },
): Promise<void> {
  await tx.query(upsert(policy.version, Buffer.from(policy.content), policy.nowMs));
}

export async function readStamp(db: Queryable): Promise<PolicyStamp | undefined> {
  return (await db.query<{ [K in keyof PolicyStamp]: PolicyStamp[K] }>(selectStamp())).rows[0];
}

export async function readContent(db: Queryable): Promise<(PolicyStamp & { readonly content: Buffer }) | undefined> {
  type Row = { [K in keyof PolicyStamp]: PolicyStamp[K] } & { content: Buffer };
  return (await db.query<Row>(selectContent())).rows[0];
}
