import { statement, type Transaction } from "@fujie/kit/db";

const insertRow = statement(
  "disclosure.insert",
  `INSERT INTO disclosure (case_id, account_id, disclosed_by, disclosed_at) VALUES ($1, $2, $3, $4)
   ON CONFLICT DO NOTHING`,
);

export interface Disclosure {
  readonly caseId: string;
  readonly accountId: string;
  readonly disclosedBy: string;
  readonly disclosedAt: Date;
}

/** False when an identity was disclosed against the case before. */
export async function insertDisclosure(tx: Transaction, disclosure: Disclosure): Promise<boolean> {
  const { caseId, accountId, disclosedBy, disclosedAt } = disclosure;
  return (await tx.query(insertRow(caseId, accountId, disclosedBy, disclosedAt))).rowCount === 1;
}
