// Which reasons a method may refuse with: those of its comment, and those that the pipeline adds by its declarations.
import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { access, DataClass, data, ObjectRule } from "../../../packages/api/src/gen/fujie/options/v1/options_pb.js";
import { type CanonicalCode, isReason, type Reason, reasons } from "../../../packages/kit/src/errors/index.ts";
import { commentOf } from "./contract.ts";

/** All reasons of a method, in the catalogue's order. */
export function reasonsOf(method: DescMethod): Reason[] {
  const all = new Set([...pipelineReasons(method), ...commentReasons(method)]);
  return allReasons.filter((reason) => all.has(reason));
}

const allReasons = Object.keys(reasons).filter(isReason);

const ofEveryCall: readonly Reason[] = [
  "INTERNAL",
  "FIELD_INVALID",
  "REQUEST_MALFORMED",
  "MESSAGE_TOO_LARGE",
  "DEADLINE_MALFORMED",
  "DEADLINE_EXCEEDED",
  "OVERLOADED",
  "DEPENDENCY_UNAVAILABLE",
];
const ofEveryToken: readonly Reason[] = ["TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED"];

function pipelineReasons(method: DescMethod): Reason[] {
  const rule = getOption(method, access);
  const asks = (field: string) => method.input.fields.some(({ name }) => name === field);
  const showsSecret = method.output.fields.some((field) => getOption(field, data) === DataClass.SECRET);
  const found: [boolean, readonly Reason[]][] = [
    [true, ofEveryCall],
    [rule.object !== ObjectRule.PUBLIC, ofEveryToken],
    [rule.scopes.length > 0, ["SCOPE_MISSING"]],
    [rule.objectField !== "", ["OBJECT_FORBIDDEN"]],
    [rule.minLevel > 0, ["LEVEL_TOO_LOW"]],
    [rule.freshSeconds > 0, ["STEP_UP_REQUIRED"]],
    [rule.privileged, ["REVOCATIONS_STALE"]],
    [asks("request_id"), ["REQUEST_ID_REUSED"]],
    [asks("request_id") && showsSecret, ["SECRET_ALREADY_SHOWN"]],
    [asks("page_token"), ["PAGE_TOKEN_INVALID"]],
    [asks("page_size"), ["PAGE_SIZE_INVALID"]],
  ];
  return found.flatMap(([applies, added]) => (applies ? added : []));
}

/**
 * Reads "Errors: CODE/REASON, /REASON, PREFIX_*; as OtherMethod; …" of a method's comment.
 * @throws Error when it names a reason that the catalogue lacks or has under another code
 */
export function commentReasons(method: DescMethod): Reason[] {
  const [, text] = /\bErrors: (.*)$/.exec(commentOf(method)) ?? [];
  if (text === undefined) return [];
  // What stands in parentheses explains to people when a reason is given.
  const clauses = text
    .replaceAll(/\([^)]*\)/g, "")
    .replace(/\.\s*$/, "")
    .split(";");
  return clauses.flatMap((clause) => clauseReasons(method, clause.trim()));
}

function clauseReasons(method: DescMethod, clause: string): Reason[] {
  const fail = (what: string) => new Error(`${method.parent.typeName}/${method.name}: ${what} in its comment's Errors`);
  const [, sameAs] = /^as (\w+)$/.exec(clause) ?? [];
  if (sameAs !== undefined) {
    const other = method.parent.methods.find(({ name }) => name === sameAs);
    if (other === undefined) throw fail(`no method ${sameAs}`);
    return commentReasons(other);
  }
  const [, code, list = ""] = /^([A-Z_]+)\s*\/(.*)$/.exec(clause) ?? [];
  if (code === undefined) throw fail(`"${clause}" cannot be read`);
  return list.split(",").flatMap((item) => {
    const named = matching(item.trim().replace(/^\//, ""), code);
    if (named.length === 0) throw fail(`the catalogue has no ${code}/${item.trim()}`);
    return named;
  });
}

function matching(name: string, code: string): Reason[] {
  const prefix = name.endsWith("*") ? name.slice(0, -1) : undefined;
  return allReasons.filter((reason) => {
    const named = prefix === undefined ? reason === name : reason.startsWith(prefix);
    return named && reasons[reason].code === code;
  });
}

/** By canonical code, in the catalogue's order. */
export function byCode(all: readonly Reason[]): Map<CanonicalCode, Reason[]> {
  return Map.groupBy(all, (reason) => reasons[reason].code);
}
