/** Reads what was posted to a sign-in page: a form or JSON, bounded, and nothing else. */
import type { IncomingMessage } from "node:http";
import { DomainError, fieldError } from "@fujie/kit/errors";

export interface PostedBody {
  readonly json: boolean;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Six certificates and a PKCS#7 signature, in base64. */
const BODY_BYTES_MAX = 256 * 1024;

/** @throws DomainError MESSAGE_TOO_LARGE, REQUEST_MALFORMED */
export async function readBody(request: IncomingMessage): Promise<PostedBody> {
  const [type = ""] = (request.headers["content-type"] ?? "").toLowerCase().split(";");
  const text = await readText(request);
  if (type.trim() === "application/json") return { json: true, fields: parseJson(text) };
  if (type.trim() === "application/x-www-form-urlencoded") return { json: false, fields: parseForm(text) };
  if (text === "") return { json: acceptsJson(request), fields: {} };
  throw new DomainError("REQUEST_MALFORMED");
}

/** Whether the caller is a program that wants JSON rather than a page. */
export function acceptsJson(request: Pick<IncomingMessage, "headers">): boolean {
  const accept = request.headers.accept ?? "";
  return accept.includes("application/json") && !accept.includes("text/html");
}

/** A text field of at most `lengthMax` characters. */
export function textField({ fields }: PostedBody, name: string, lengthMax: number): string {
  const value = fields[name];
  if (typeof value !== "string" || value === "" || value.length > lengthMax) {
    throw fieldError("FIELD_INVALID", name, `must be a text of at most ${lengthMax} characters`);
  }
  return value;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Bytes in base64, 1 to `bytesMax`. */
export function bytesOf(value: unknown, name: string, bytesMax: number): Buffer {
  const bytes = typeof value === "string" && BASE64.test(value) ? Buffer.from(value, "base64") : undefined;
  if (bytes === undefined || bytes.length === 0 || bytes.length > bytesMax) {
    throw fieldError("FIELD_INVALID", name, `must be 1 to ${bytesMax} bytes in base64`);
  }
  return bytes;
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) throw new DomainError("REQUEST_MALFORMED");
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new DomainError("MESSAGE_TOO_LARGE");
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new DomainError("REQUEST_MALFORMED");
  }
}

function parseJson(text: string): PostedBody["fields"] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new DomainError("REQUEST_MALFORMED");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw new DomainError("REQUEST_MALFORMED");
  return { ...parsed };
}

function parseForm(text: string): PostedBody["fields"] {
  const form = new URLSearchParams(text);
  const names = [...form.keys()];
  if (new Set(names).size !== names.length) throw new DomainError("REQUEST_MALFORMED");
  return Object.fromEntries(form);
}
