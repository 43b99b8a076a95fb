import type { HandlerContext } from "@connectrpc/connect";
import { DomainError } from "@fujie/kit/errors";
import { subjectOf } from "@fujie/kit/serve";
import type { Context } from "../context.ts";
import { operatorScopes } from "./rules.ts";
import { findOperator, type Operator } from "./store.ts";

/**
 * The operator who calls, with the rights he has now: the token was checked for the scope, and here the registry's own
 * record is. Throws SCOPE_MISSING for who is none or has another role by now, OPERATOR_RIGHTS_LAPSED.
 */
export async function requireOperator(
  { db, clock }: Pick<Context, "db" | "clock">,
  call: HandlerContext,
  scope: string,
): Promise<Operator> {
  const { kind, subject } = subjectOf(call);
  const operator = kind === "operator" ? await findOperator(db, subject) : undefined;
  if (operator === undefined) throw new DomainError("SCOPE_MISSING");
  const now = new Date(clock.nowMs());
  if (operator.reviewedUntil <= now) throw new DomainError("OPERATOR_RIGHTS_LAPSED");
  if (!operatorScopes(operator, now).includes(scope)) throw new DomainError("SCOPE_MISSING");
  return operator;
}
