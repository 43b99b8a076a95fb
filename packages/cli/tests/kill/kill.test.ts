import { test } from "node:test";
import { surviveKills } from "./trial.ts";

test("SZ-4.1 services killed at random points of the whole journey lose no acknowledged event and leave nothing half done", (t) =>
  surviveKills(t, { journeys: 1, killsMax: 4, killEveryMs: 1_500 }));
