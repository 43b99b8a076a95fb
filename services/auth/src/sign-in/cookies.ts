import type { IncomingMessage } from "node:http";

/** The value of a cookie of the request, if it came once. */
export function readCookie(request: Pick<IncomingMessage, "headers">, name: string): string | undefined {
  const pairs = (request.headers.cookie ?? "").split(";").map((pair) => pair.trim());
  const values = pairs.filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1));
  return values.length === 1 ? values[0] : undefined;
}
