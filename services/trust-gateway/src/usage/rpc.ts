import type { ServiceImpl } from "@connectrpc/connect";
import type { GetUsageRequest, UsageService } from "@fujie/api/fujie/trust/v1/usage";
import { openPage, pageSize, signPage } from "@fujie/kit/db";
import type { Context } from "../context.ts";
import { requireDays } from "./rules.ts";
import { readUsage, type UsageQuery, type UsageRow } from "./store.ts";

export function usageService(context: Pick<Context, "db" | "ring">) {
  return {
    getUsage: (request) => page(context, { of: "application", id: request.applicationId }, request),
    getSourceUsage: (request) => page(context, { of: "source", id: request.sourceId }, request),
  } satisfies ServiceImpl<typeof UsageService>;
}

const SIZE = { default: 100, max: 1_000 };

async function page(
  { db, ring }: Pick<Context, "db" | "ring">,
  whose: Pick<UsageQuery, "of" | "id">,
  request: Pick<GetUsageRequest, "startDate" | "endDate" | "pageSize" | "pageToken">,
) {
  const days = requireDays(request);
  const size = pageSize(request.pageSize, SIZE);
  const filter = ["usage", whose.of, whose.id, days.start, days.end];
  const cursor = openPage(request.pageToken, filter, ring);
  const [day = days.start, other = "", purpose = ""] = cursor?.map(String) ?? [];
  const after = cursor === undefined ? undefined : ([day, other, purpose] as const);
  const found = await readUsage(db, { ...whose, days, after, limit: size + 1 });
  const rows = found.slice(0, size);
  const last = found.length > size ? rows.at(-1) : undefined;
  return {
    usage: rows.map(describe),
    nextPageToken: last === undefined ? "" : signPage({ filter, cursor: cursorOf(last, whose.of) }, ring),
  };
}

function cursorOf({ date, sourceId, applicationId, purpose }: UsageRow, of: UsageQuery["of"]): string[] {
  return [date, of === "application" ? sourceId : applicationId, purpose];
}

function describe({ date, applicationId, sourceId, purpose, ...counts }: UsageRow) {
  return {
    date,
    applicationId,
    sourceId,
    purpose,
    answered: BigInt(counts.answered),
    unknown: BigInt(counts.unknown),
    shared: BigInt(counts.shared),
    costFen: BigInt(counts.costFen),
  };
}
