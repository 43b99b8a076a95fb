/** Text that is HTML already: only `html` makes it. */
export interface Html {
  readonly html: string;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};

/** A template whose values are escaped, except those that are HTML already; lists are joined. */
export function html(parts: TemplateStringsArray, ...values: readonly (string | Html | readonly Html[])[]): Html {
  const text = parts.map((part, index) => part + rendered(values[index])).join("");
  return { html: text };
}

/** Marks a text of our own, or of the OpenID library, as HTML. Never anything that came with a request. */
export function trusted(text: string): Html {
  return { html: text };
}

function rendered(value: string | Html | readonly Html[] | undefined): string {
  if (value === undefined) return "";
  if (typeof value === "string") return value.replace(/[&<>"'`]/g, (character) => ENTITIES[character] ?? "");
  if ("html" in value) return value.html;
  return value.map((item) => item.html).join("");
}
