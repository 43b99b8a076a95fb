// Runs a server for the tests that kill its parent: prints pid and URL, then waits to be ended, with a signal handler of
// its own where asked to.
import pg from "pg";
import { startPostgres, throwawaySettings } from "../src/index.ts";

const [dataDir = "", durable = "", handler = ""] = process.argv.slice(2);
const settings = durable === "durable" ? {} : throwawaySettings;
const server = await startPostgres({ dataDir, log: () => {}, settings });
if (handler === "own-handler") {
  process.once("SIGTERM", async () => {
    const client = new pg.Client({ connectionString: server.url("postgres") });
    await client.connect();
    await client.query("CREATE TABLE last_words AS SELECT 1 AS said");
    await client.end();
    await server.stop();
  });
}
process.stdout.write(`${JSON.stringify({ pid: server.pid, url: server.url("postgres") })}\n`);
