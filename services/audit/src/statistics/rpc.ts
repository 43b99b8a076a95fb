import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { StatisticsService } from "@fujie/api/fujie/audit/v1/statistics";
import { DomainError } from "@fujie/kit/errors";
import { parseDay } from "../analysis/china-time.ts";
import type { Context } from "../context.ts";
import { findStatistics } from "./store.ts";

export function statisticsService({ db }: Pick<Context, "db">) {
  return {
    async getStatistics(request) {
      const day = parseDay(request.day);
      const published = day === undefined ? undefined : await findStatistics(db, day);
      if (published === undefined) throw new DomainError("STATISTICS_NOT_FOUND");
      const { document, digest, publishedAtMs } = published;
      return { document, digest, publishTime: timestampFromMs(publishedAtMs) };
    },
  } satisfies ServiceImpl<typeof StatisticsService>;
}
