import type { ClaimAdapter } from "../adapter.ts";
import { openSignedHttpSource, type SignedHttpSettings } from "../signed-http.ts";
import { dialect } from "./rules.ts";
import { readSettings } from "./settings.ts";

export const adapter: ClaimAdapter<SignedHttpSettings> = {
  readSettings,
  open: (facts, settings, context) => openSignedHttpSource(facts, settings, context, dialect),
};
