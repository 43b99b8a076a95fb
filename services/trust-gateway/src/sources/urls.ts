import { isLoopback } from "@fujie/kit/config";
import type { EntryReader } from "./entry.ts";

/** An origin or folder without a trailing slash: https, or http on loopback. */
export function readSourceUrl(entry: EntryReader, field: string): string {
  const text = entry.text(field, /^https?:\/\/[\x21-\x7e]{1,500}$/);
  if (!URL.canParse(text)) return entry.fail(field, "is no URL");
  const url = new URL(text);
  if (url.username !== "" || url.search !== "" || url.hash !== "" || text.endsWith("/")) {
    return entry.fail(field, "has credentials, a query, a fragment or a trailing slash");
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) return entry.fail(field, "is not https");
  return text;
}
