import { test } from "node:test";
import { surviveKills } from "./killing.ts";

test("SZ-4.1 services killed at random points lose no acknowledged event and leave no half-registered account", (t) =>
  surviveKills(t, { people: 4, kills: 6, killEveryMs: 1_200 }));
