import { test } from "node:test";
import { surviveKills } from "./killing.ts";

test("SZ-4.1 many people register through fifteen kills: nothing acknowledged is lost, doubled or half done", (t) =>
  surviveKills(t, { people: 12, kills: 15, killEveryMs: 4_000 }));
