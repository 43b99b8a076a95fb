/** The little of a browser that signing in needs: cookies per origin, redirects seen one by one. */
export interface Browser {
  request(url: URL, init?: { method?: string; headers?: Record<string, string>; body?: string }): Promise<Response>;
}

export function openBrowser(traceparent?: string): Browser {
  const cookies = new Map<string, Map<string, string>>();

  return {
    request: async (url, init = {}) => {
      const jar = cookies.get(url.origin) ?? new Map<string, string>();
      cookies.set(url.origin, jar);
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
      const response = await fetch(url, {
        ...init,
        redirect: "manual",
        headers: {
          ...init.headers,
          ...(traceparent === undefined ? {} : { traceparent }),
          ...(cookie === "" ? {} : { cookie }),
        },
      });
      for (const line of response.headers.getSetCookie()) keepCookie(jar, line);
      return response;
    },
  };
}

function keepCookie(jar: Map<string, string>, line: string): void {
  const [pair = ""] = line.split(";");
  const split = pair.indexOf("=");
  const [name, value] = [pair.slice(0, split).trim(), pair.slice(split + 1).trim()];
  const ended = /;\s*(max-age=0|expires=Thu, 01 Jan 1970)/i.test(line) || value === "";
  if (ended) jar.delete(name);
  else jar.set(name, value);
}
