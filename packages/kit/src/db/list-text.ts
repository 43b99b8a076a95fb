/**
 * Lists as PostgreSQL reads them from text, `{"a","b"}`. pg escapes each element by itself, with two regular expressions:
 * for the columns of a batch that was more than all its statements cost. What needs no escaping is written in one go.
 */

/** A value as it is given to pg: a list of plain texts or numbers as its text, anything else as it is. */
export function compactValue(value: unknown): unknown {
  return (Array.isArray(value) ? listText(value) : undefined) ?? value;
}

/** Undefined for a list that pg has to write: with an element of another type, or a text that has to be escaped. */
function listText(list: readonly unknown[]): string | undefined {
  if (!list.every(isPlain)) return undefined;
  // JSON and PostgreSQL write these alike but for the brackets, as long as nothing is escaped; null is NULL in both.
  const json = JSON.stringify(list);
  return json.includes("\\") ? undefined : `{${json.slice(1, -1)}}`;
}

function isPlain(value: unknown): boolean {
  return value === null || value === undefined || typeof value === "string" || Number.isFinite(value);
}
