export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

interface Access {
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly tls: boolean;
  readonly nodes: readonly RedisNode[];
}

export type RedisTarget = Access &
  (
    | { readonly kind: "node"; readonly node: RedisNode; readonly db: number }
    | { readonly kind: "sentinel"; readonly name: string; readonly db: number }
    | { readonly kind: "cluster" }
  );

// URL does not know lists of hosts.
const SHAPE =
  /^(?<tls>rediss?)(?:\+(?<kind>sentinel|cluster))?:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^/@]+)(?:\/(?<path>[^?#]*))?$/;

/** @throws RangeError that says what is wrong, without the URL: it may hold a password. */
export function parseRedisUrl(url: string): RedisTarget {
  const groups = SHAPE.exec(url)?.groups;
  if (groups === undefined) throw new RangeError("not a Redis URL");
  const { kind = "node", user = "", password = "", hosts = "", path = "" } = groups;
  const parts = path.split("/").filter((part) => part !== "");
  const access = {
    user: user === "" ? undefined : decodeURIComponent(user),
    password: password === "" ? undefined : decodeURIComponent(password),
    tls: groups["tls"] === "rediss",
    nodes: hosts.split(",").map((host) => parseNode(host, kind === "sentinel" ? 26_379 : 6_379)),
  };
  if (kind === "cluster") {
    if (parts.length > 0) throw new RangeError("a Redis cluster has no database number");
    return { ...access, kind };
  }
  if (kind === "sentinel") {
    const [name, db, ...rest] = parts;
    if (name === undefined || rest.length > 0) throw new RangeError("a sentinel URL ends with the master's name");
    return { ...access, kind, name, db: parseNumber(db ?? "0", "database") };
  }
  const [node, ...others] = access.nodes;
  if (node === undefined || others.length > 0) throw new RangeError("several Redis hosts need +sentinel or +cluster");
  if (parts.length > 1) throw new RangeError("a Redis URL ends with the database number");
  return { ...access, kind: "node", node, db: parseNumber(parts[0] ?? "0", "database") };
}

function parseNode(text: string, defaultPort: number): RedisNode {
  const { v6, name, port } =
    /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[^:[\]]+))(?::(?<port>\d+))?$/i.exec(text)?.groups ?? {};
  const host = v6 ?? name;
  if (host === undefined) throw new RangeError("a Redis host is malformed");
  return { host, port: port === undefined ? defaultPort : parseNumber(port, "port") };
}

function parseNumber(text: string, what: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new RangeError(`the Redis ${what} is not a number`);
  return Number(text);
}
