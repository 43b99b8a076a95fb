import type { DescMessage, Message } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import { DomainError } from "../errors/index.ts";

const validator = createValidator();

/**
 * Makes the check of one request type by its protovalidate rules, compiled now rather than at the first call (which
 * would take some 30 ms). Throws at start when a rule does not compile.
 */
export function createMessageCheck(schema: DescMessage): (message: Message) => void {
  const warm = validator.validate(schema, create(schema));
  if (warm.kind === "error") throw warm.error;
  return (message) => {
    const result = validator.validate(schema, message);
    if (result.kind === "valid") return;
    if (result.kind === "error") throw result.error;
    throw new DomainError("FIELD_INVALID", {
      violations: result.violations.map((violation) => ({
        field: pathToString(violation.field),
        // The rule, not protovalidate's message: a custom message might quote the value.
        description: violation.ruleId,
      })),
    });
  };
}
