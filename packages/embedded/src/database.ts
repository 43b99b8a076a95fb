import pg from "pg";

export type DatabaseRole = { role: string; password: string };

/** A service's database: the owner migrates its schema, the runtime role reads and writes rows and may do no DDL. */
export type DatabaseSpec = {
  name: string;
  owner: DatabaseRole;
  runtime: DatabaseRole;
  /** Whether there is a keeper: a role without login that may own what not even the owner may drop. */
  keeper?: boolean;
};

/** The name of an owner's keeper. The owner is its member until `closeKeeper`. */
export function keeperOf(owner: string): string {
  return `${owner}_keeper`;
}

/** Any constant, the same for all: roles belong to the whole server, so two calls at once would collide. */
const ROLES_LOCK = 0x66_75_6a_69;

/**
 * Makes sure that the database and its two roles exist with these passwords and rights; repeating it changes nothing.
 *
 * What the owner creates later in the schema `public` is open to the runtime role by default privileges: rows of
 * tables (SELECT, INSERT, UPDATE, DELETE), sequences and functions. Nobody else may connect.
 *
 * @param adminUrl a superuser's URL, of any database of the server
 */
export async function ensureDatabase(adminUrl: string, spec: DatabaseSpec): Promise<void> {
  await withClient(adminUrl, async (client) => {
    await client.query("SELECT pg_advisory_lock($1)", [ROLES_LOCK]);
    for (const role of [spec.owner, spec.runtime]) await ensureRole(client, role);
    if (spec.keeper === true) await ensureKeeper(client, spec.owner.role);
    const existing = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [spec.name]);
    const [name, owner] = [pg.escapeIdentifier(spec.name), pg.escapeIdentifier(spec.owner.role)];
    await client.query(
      existing.rowCount === 0 ? `CREATE DATABASE ${name} OWNER ${owner}` : `ALTER DATABASE ${name} OWNER TO ${owner}`,
    );
  });
  const inside = new URL(adminUrl);
  inside.pathname = `/${encodeURIComponent(spec.name)}`;
  await withClient(inside.href, (client) => grantRights(client, spec));
}

async function ensureRole(client: pg.Client, { role, password }: DatabaseRole): Promise<void> {
  const existing = await client.query("SELECT 1 FROM pg_roles WHERE rolname = $1", [role]);
  const verb = existing.rowCount === 0 ? "CREATE" : "ALTER";
  const rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
  await client.query(`${verb} ROLE ${pg.escapeIdentifier(role)} WITH ${rights} PASSWORD ${pg.escapeLiteral(password)}`);
}

async function ensureKeeper(client: pg.Client, owner: string): Promise<void> {
  const keeper = pg.escapeIdentifier(keeperOf(owner));
  const existing = await client.query("SELECT 1 FROM pg_roles WHERE rolname = $1", [keeperOf(owner)]);
  if (existing.rowCount === 0) await client.query(`CREATE ROLE ${keeper} NOLOGIN`);
  await client.query(`GRANT ${keeper} TO ${pg.escapeIdentifier(owner)}`);
}

/** After migrating: the owner is no member of its keeper any more, and cannot drop what that owns. */
export async function closeKeeper(adminUrl: string, owner: string): Promise<void> {
  await withClient(adminUrl, (client) =>
    client.query(`REVOKE ${pg.escapeIdentifier(keeperOf(owner))} FROM ${pg.escapeIdentifier(owner)}`),
  );
}

async function grantRights(client: pg.Client, spec: DatabaseSpec): Promise<void> {
  const database = pg.escapeIdentifier(spec.name);
  const owner = pg.escapeIdentifier(spec.owner.role);
  const runtime = pg.escapeIdentifier(spec.runtime.role);
  const defaults = `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA public GRANT`;
  const statements = [
    "SELECT pg_advisory_lock(1)",
    `REVOKE ALL ON DATABASE ${database} FROM PUBLIC`,
    `GRANT CONNECT ON DATABASE ${database} TO ${runtime}`,
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    `ALTER SCHEMA public OWNER TO ${owner}`,
    `GRANT USAGE ON SCHEMA public TO ${runtime}`,
    `${defaults} SELECT, INSERT, UPDATE, DELETE ON TABLES TO ${runtime}`,
    `${defaults} USAGE, SELECT ON SEQUENCES TO ${runtime}`,
    `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`,
    `${defaults} EXECUTE ON FUNCTIONS TO ${runtime}`,
  ];
  for (const statement of statements) await client.query(statement);
}

export async function withClient<T>(connectionString: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
