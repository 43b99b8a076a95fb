import type { SnapshotItem } from "@fujie/kit/feed";
import { pageApplications } from "../applications/store.ts";
import type { Context } from "../context.ts";
import { pageOperators } from "../operators/store.ts";
import { applicationEvent, operatorEvent } from "./publish.ts";

const FIRST_ID = "00000000-0000-0000-0000-000000000000";

/** What a new follower of "registry.changes" gets first: all applications, then all operators, by keyset. */
export async function snapshotChanges(
  { db }: Pick<Context, "db">,
  after: string | undefined,
  limit: number,
): Promise<readonly SnapshotItem[]> {
  const [kind = "a", id = FIRST_ID] = after === undefined ? [] : [after.slice(0, 1), after.slice(2)];
  const applications = kind === "a" ? await pageApplications(db, id, limit) : [];
  const items = applications.map((application) => ({
    event: applicationEvent(application),
    cursor: `a-${application.applicationId}`,
  }));
  if (items.length === limit) return items;
  const operators = await pageOperators(db, kind === "o" ? id : FIRST_ID, limit - items.length);
  return [
    ...items,
    ...operators.map(({ operatorId }) => ({ event: operatorEvent(operatorId), cursor: `o-${operatorId}` })),
  ];
}
