import { isLoopback } from "@fujie/kit/config";
import type { EntryReader } from "./entry.ts";

const URLS_MAX = 16;

/** `url`, or the list `urls` of a source with several addresses. */
export function readSourceUrls(entry: EntryReader): readonly string[] {
  const urls = entry.optionalTexts("urls");
  if (urls === undefined) return [readSourceUrl(entry, "url")];
  if (urls.length === 0 || urls.length > URLS_MAX || new Set(urls).size !== urls.length) {
    return entry.fail("urls", `does not hold 1 to ${URLS_MAX} addresses`);
  }
  return urls.map((url) => requireSourceUrl(entry, "urls", url));
}

/** An origin or folder without a trailing slash: https, or http on loopback. */
export function readSourceUrl(entry: EntryReader, field: string): string {
  return requireSourceUrl(entry, field, entry.text(field, URL_FORM));
}

const URL_FORM = /^https?:\/\/[\x21-\x7e]{1,500}$/;

function requireSourceUrl(entry: EntryReader, field: string, text: string): string {
  if (!URL_FORM.test(text)) return entry.fail(field, "is not of its form");
  if (!URL.canParse(text)) return entry.fail(field, "is no URL");
  const url = new URL(text);
  if (url.username !== "" || url.search !== "" || url.hash !== "" || text.endsWith("/")) {
    return entry.fail(field, "has credentials, a query, a fragment or a trailing slash");
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) return entry.fail(field, "is not https");
  return text;
}
