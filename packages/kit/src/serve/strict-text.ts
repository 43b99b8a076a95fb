const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Decodes a JSON body. Throws on invalid UTF-8, and on lone surrogates, which only escapes can smuggle in (RFC 8259 §8.2). */
export const strictTextDecoder = {
  decode(bytes: Uint8Array): string {
    const text = utf8.decode(bytes);
    if (/\\u[dD][89a-fA-F]/.test(text)) JSON.parse(text, refuseLoneSurrogate);
    return text;
  },
};

function refuseLoneSurrogate(key: string, value: unknown): unknown {
  if (!key.isWellFormed() || (typeof value === "string" && !value.isWellFormed())) {
    throw new SyntaxError("lone surrogate");
  }
  return value;
}
