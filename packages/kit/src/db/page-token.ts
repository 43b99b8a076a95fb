import { createHash } from "node:crypto";
import { fieldError } from "../errors/index.ts";
import type { KeyRing } from "../keys/index.ts";

/** The last row's sort key. It travels in clear text: ids and times, never anything personal. */
export type Cursor = readonly (string | number)[];

export interface Page {
  /** Everything that selects and orders the list: method, caller, and each filter field of the request. */
  readonly filter: readonly (string | number | boolean | undefined)[];
  readonly cursor: Cursor;
}

const TOKEN_MAX = 1_000;

/** A page token for the rows after the cursor, valid for exactly this filter. */
export function signPage(page: Page, keys: Pick<KeyRing, "hmac">): string {
  const cursor = Buffer.from(JSON.stringify(page.cursor)).toString("base64url");
  return `${cursor}.${keys.hmac("page-token", signedBytes(page.filter, cursor)).digest.toString("base64url")}`;
}

/**
 * The cursor of a token, or undefined for the empty token of the first page.
 * @throws DomainError PAGE_TOKEN_INVALID for a token that signPage did not make for this filter.
 */
export function openPage(
  token: string,
  filter: Page["filter"],
  keys: Pick<KeyRing, "hmacMatches">,
): Cursor | undefined {
  if (token === "") return undefined;
  const [cursor = "", digest = "", ...rest] = token.length > TOKEN_MAX ? [] : token.split(".");
  const genuine =
    rest.length === 0 && keys.hmacMatches("page-token", signedBytes(filter, cursor), Buffer.from(digest, "base64url"));
  const opened: unknown = genuine ? JSON.parse(Buffer.from(cursor, "base64url").toString()) : undefined;
  if (!isCursor(opened)) {
    throw fieldError("PAGE_TOKEN_INVALID", "page_token", "is not one that this list and filter gave");
  }
  return opened;
}

/**
 * The page size to use: zero means the default, too large is lowered.
 * @throws DomainError PAGE_SIZE_INVALID when negative.
 */
export function pageSize(requested: number, bounds: { readonly default: number; readonly max: number }): number {
  if (requested < 0) throw fieldError("PAGE_SIZE_INVALID", "page_size", "is negative");
  return requested === 0 ? bounds.default : Math.min(requested, bounds.max);
}

function signedBytes(filter: Page["filter"], cursor: string): string {
  // JSON keeps undefined apart from every value only as null, which no filter holds.
  const digest = createHash("sha256").update(JSON.stringify(filter)).digest("hex");
  return `fujie-page-v1\n${digest}\n${cursor}`;
}

function isCursor(value: unknown): value is Cursor {
  return Array.isArray(value) && value.every((part) => typeof part === "string" || typeof part === "number");
}
