import type { ServiceImpl } from "@connectrpc/connect";
import type { ReconciliationService } from "@fujie/api/fujie/audit/v1/reconciliation";
import { DomainError } from "@fujie/kit/errors";
import { caller } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { reconcile } from "./reconcile.ts";

export function reconciliationService(context: Pick<Context, "db" | "ring" | "clock">) {
  return {
    async reconcile({ enqueued, waiting }, call) {
      const { peer } = caller(call);
      if (peer === undefined) throw new DomainError("PEER_CERTIFICATE_INVALID");
      const numbers = { enqueued: Number(enqueued), waiting: Number(waiting) };
      return { missing: BigInt(await reconcile(context, peer, numbers)) };
    },
  } satisfies ServiceImpl<typeof ReconciliationService>;
}
