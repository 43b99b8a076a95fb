import { systemClock } from "../src/clock/index.ts";
import { openDatabase, statement } from "../src/db/index.ts";
import { startRelay } from "../src/outbox/index.ts";
import { silentLog } from "./kit-database.ts";

// A relay in a process of its own, to be killed: node relay-process.ts <url>. It delivers into the table `delivered`.
const [url = ""] = process.argv.slice(2);
const db = openDatabase({ url, poolMax: 4, service: "relay" });
const deliver = statement(
  "test.deliver",
  "INSERT INTO delivered (id) SELECT * FROM unnest($1::uuid[]) ON CONFLICT (id) DO UPDATE SET times = delivered.times + 1",
);
startRelay({
  db,
  destinations: { audit: async (batch) => void (await db.query(deliver(batch.map(({ id }) => id)))) },
  batchMax: 16,
  deliverTimeoutMs: 100,
  pollMs: 20,
  clock: systemClock,
  log: silentLog,
});
process.stdout.write("started\n");
