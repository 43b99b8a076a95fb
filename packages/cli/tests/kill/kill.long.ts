import { test } from "node:test";
import { surviveKills } from "./trial.ts";

test("SZ-4.1 many people go through the whole journey and two dozen kills: nothing acknowledged is lost, doubled or half done", (t) =>
  surviveKills(t, { journeys: 4, killsMax: 24, killEveryMs: 4_000 }));
