import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** When a fault strikes: the message was not delivered yet, or it was, and only its answer is missing. */
export type Moment = "before" | "after";

/** What becomes of the connection on which the fault struck: an answer is withheld only where it is cut. */
export type Outcome = "cut" | "goes on";

/** The way between two programs over TCP, on which a fault can strike at an exact point. */
export interface Wire extends AsyncDisposable {
  readonly port: number;
  /**
   * Strikes once: at the next COMMIT to PostgreSQL of a transaction that used the statement. Resolves when it has
   * struck; the connection is held meanwhile.
   */
  atCommitOf(statementName: string, moment: Moment, strike: () => Promise<Outcome>): Promise<void>;
  /** From now on swallows what clients ask, or what they are answered, until `cut`. */
  swallow(what: "requests" | "answers"): void;
  /** Bytes swallowed since. */
  swallowed(): number;
  /** Cuts every connection; those that follow are sound. */
  cut(): void;
}

interface Fault {
  readonly statementName: string;
  readonly moment: Moment;
  readonly strike: () => Promise<Outcome>;
  readonly struck: PromiseWithResolvers<void>;
}

export async function openWire(to: () => number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let fault: Fault | undefined;
  let swallowing: "requests" | "answers" | undefined;
  let swallowed = 0;

  const take = (): Fault | undefined => {
    const taken = fault;
    fault = undefined;
    return taken;
  };
  const passes = (what: "requests" | "answers", bytes: Buffer): boolean => {
    if (swallowing !== what) return true;
    swallowed += bytes.length;
    return false;
  };

  const server = createServer((client) => {
    const upstream = connect(to(), "127.0.0.1");
    const both = [client, upstream];
    const cut = (): void => {
      for (const socket of both) {
        sockets.delete(socket);
        socket.destroy();
      }
    };
    for (const socket of both) {
      sockets.add(socket);
      socket.setNoDelay(true).on("error", cut).on("close", cut);
    }
    let used = false;
    let awaiting: Fault | undefined;

    /** Strikes, and then delivers what was held unless the connection is cut. */
    const strike = async ({ strike, struck }: Fault, held: Buffer, receiver: Socket): Promise<void> => {
      client.pause();
      upstream.pause();
      try {
        if ((await strike()) === "cut") cut();
        else receiver.write(held);
        struck.resolve();
      } catch (error) {
        cut();
        struck.reject(error);
      }
      client.resume();
      upstream.resume();
    };

    client.on("data", (bytes) => {
      if (!passes("requests", bytes)) return;
      if (fault !== undefined && bytes.includes(fault.statementName)) used = true;
      if (!used || !bytes.includes("COMMIT\0")) return void upstream.write(bytes);
      used = false;
      const due = take();
      if (due?.moment === "before") return void strike(due, bytes, upstream);
      awaiting = due;
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (!passes("answers", bytes)) return;
      // Statements that went with the commit are answered before it.
      const due = /(?:COMMIT|ROLLBACK)\0/.test(bytes.toString("latin1")) ? awaiting : undefined;
      if (due !== undefined) awaiting = undefined;
      if (due === undefined) client.write(bytes);
      else void strike(due, bytes, client);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const cutAll = (): void => {
    swallowing = undefined;
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: address.port,
    atCommitOf: (statementName, moment, strike) => {
      const struck = Promise.withResolvers<void>();
      fault = { statementName, moment, strike, struck };
      return struck.promise;
    },
    swallow: (what) => {
      swallowing = what;
      swallowed = 0;
    },
    swallowed: () => swallowed,
    cut: cutAll,
    [Symbol.asyncDispose]: async () => {
      cutAll();
      server.close();
      await once(server, "close");
    },
  };
}

/** The same address through a wire. */
export function through(wire: Wire, url: string): string {
  const rerouted = new URL(url);
  rerouted.port = String(wire.port);
  return rerouted.href;
}
