/** Asks the population base as the gateway does, without a gateway. */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Question } from "./load.ts";
import type { SourcesFile, Stage } from "./stage.ts";

const PATH = "/population/v1/checks";

/** How long each check took, in milliseconds, at a fixed pace. */
export async function askDirectly(
  { sandboxUrl, sourcesFile }: Stage,
  questions: readonly Question[],
  perSecond: number,
): Promise<number[]> {
  const { sources }: SourcesFile = JSON.parse(readFileSync(sourcesFile, "utf8"));
  const base = sources.find(({ id }) => id === "population-base");
  const secret = readFileSync(String(base?.["secretFile"]));
  const startMs = performance.now();
  return Promise.all(
    questions.map(async ({ claim }, at) => {
      const dueMs = startMs + (at * 1_000) / perSecond;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
      const { citizenId, personName: name } = claim;
      const bizSeq = randomBytes(16).toString("hex");
      const body = JSON.stringify({ bizSeq, citizenId, name, purpose: "bench" });
      const beganMs = performance.now();
      const response = await fetch(`${sandboxUrl}${PATH}`, {
        method: "POST",
        body,
        headers: { "content-type": "application/json", ...signed(String(base?.["clientId"]), secret, body) },
      });
      await response.text();
      if (!response.ok) throw new Error(`the base answered ${response.status}`);
      return performance.now() - beganMs;
    }),
  );
}

function signed(clientId: string, secret: Buffer, body: string): Record<string, string> {
  const timestamp = String(Date.now());
  const digest = createHash("sha256").update(body).digest("hex");
  const signature = createHmac("sha256", secret).update(["POST", PATH, timestamp, digest].join("\n")).digest("hex");
  return { "x-client-id": clientId, "x-timestamp": timestamp, "x-signature": signature };
}
