/**
 * Password hashing with a bound: argon2id costs ~15 ms of a core and 19 MiB, so a flood of sign-ins must be refused at
 * the door rather than queue up until memory and deadlines are gone.
 */
import { availableParallelism } from "node:os";
import { DomainError } from "@fujie/kit/errors";
import { hash, verify } from "@node-rs/argon2";
import { normalisePassword } from "./rules.ts";

export interface PasswordHasher {
  /** The PHC string of a fresh hash. Throws DomainError OVERLOADED when too many wait. */
  hash(password: string): Promise<string>;
  /**
   * Whether the password fits the PHC string. Without one it works as long on a hash that nobody knows and says no: the
   * time does not tell whether there is an account. Throws DomainError OVERLOADED when too many wait.
   */
  matches(phc: string | undefined, password: string): Promise<boolean>;
}

export interface HashingBounds {
  /** At once; by default one for each core. */
  readonly runningMax?: number;
  /** Waiting beyond that; by default four times as many. */
  readonly waitingMax?: number;
}

/** OWASP's first choice: argon2id (the library's number 2), 19 MiB, two passes, one lane. */
const options = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 };
const RETRY_DELAY_MS = 1_000;

export async function createPasswordHasher(bounds: HashingBounds = {}): Promise<PasswordHasher> {
  const runningMax = bounds.runningMax ?? availableParallelism();
  const waitingMax = bounds.waitingMax ?? 4 * runningMax;
  const waiting: (() => void)[] = [];
  let running = 0;

  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= runningMax) {
      if (waiting.length >= waitingMax) throw new DomainError("OVERLOADED", { retryDelayMs: RETRY_DELAY_MS });
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else {
      running += 1;
    }
    try {
      return await work();
    } finally {
      // The place is handed to the next in line, or given back.
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };

  const nobodys = await hash(crypto.randomUUID(), options);
  return {
    hash: (password) => run(() => hash(normalisePassword(password), options)),
    matches: async (phc, password) => {
      const fits = await run(() => verify(phc ?? nobodys, normalisePassword(password), options));
      return fits && phc !== undefined;
    },
  };
}
