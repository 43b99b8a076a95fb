/** The control hook of a test environment (docs/trust-source-access.md, §12): brings about what nobody can from outside. */
export interface Control {
  behave(fault: "none" | "drop" | "maintenance"): Promise<void>;
  /** Checks billed so far. */
  billed(): Promise<number>;
  reset(): Promise<void>;
}

const TIMEOUT_MS = 10_000;

/** @throws Error when the hook does not answer as it must */
export function openControl(url: string): Control {
  async function send(method: string, body?: object): Promise<unknown> {
    const response = await fetch(url, {
      method,
      ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(`the control hook answered ${response.status}`);
    return response.json();
  }
  return {
    behave: async (fault) => {
      await send("PUT", { fault });
    },
    billed: async () => billedIn(await send("GET")),
    reset: async () => {
      await send("DELETE");
    },
  };
}

function billedIn(answer: unknown): number {
  if (typeof answer === "object" && answer !== null && "counters" in answer) {
    const { counters } = answer;
    if (typeof counters === "object" && counters !== null && "billed" in counters) {
      if (typeof counters.billed === "number") return counters.billed;
    }
  }
  throw new Error("the control hook tells no counters.billed");
}
