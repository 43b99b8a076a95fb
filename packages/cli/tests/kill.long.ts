import { test } from "node:test";
import { surviveKills } from "./killing.ts";

test("SZ-4.1 many people register through forty kills: nothing acknowledged is lost, doubled or half done", (t) =>
  surviveKills(t, { people: 40, kills: 40 }));
