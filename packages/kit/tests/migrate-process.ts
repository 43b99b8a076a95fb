import { migrate } from "../src/db/index.ts";
import { silentLog } from "./kit-database.ts";

// A process of its own that migrates: node migrate-process.ts <url> <dir> <runtime role>
const [url = "", dir = "", runtimeRole = ""] = process.argv.slice(2);
await migrate({ url, dir, runtimeRole, log: silentLog });
