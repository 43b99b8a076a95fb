/**
 * Who is next where a source is the limit: interactive questions before batches, and within a class tenants by their
 * weights (start-time fair queueing: Goyal, Vin, Cheng 1996). When the queue is full the tenant that holds most of it for its
 * weight gives way, so that a noisy one displaces itself and nobody else. Pure.
 */
export type Priority = "interactive" | "batch";

export interface Claimant {
  readonly tenant: string;
  /** From 1. */
  readonly weight: number;
  readonly priority: Priority;
}

export interface FairQueue<Item> {
  readonly size: number;
  /** Whether an item of this claimant would get a place now. */
  admits(claimant: Claimant): boolean;
  /**
   * Queues an item. Returns the one that has no place any more: undefined while there is room, the item itself when its
   * tenant has more than its share, or the latest of whoever has.
   */
  push(item: Item, claimant: Claimant): Item | undefined;
  shift(): Item | undefined;
  /** Takes an item out; false when it is not there any more. */
  remove(item: Item): boolean;
  /** Empties the queue. */
  drain(): Item[];
}

interface Tenant<Item> {
  weight: number;
  /** When its first item may start, in virtual time. */
  startAt: number;
  readonly items: Item[];
}

interface Lane<Item> {
  readonly tenants: Map<string, Tenant<Item>>;
  /** Start of what was taken last. */
  virtualTime: number;
}

export function createFairQueue<Item>(sizeMax: number): FairQueue<Item> {
  const lanes = { interactive: newLane<Item>(), batch: newLane<Item>() };
  let size = 0;

  /** Who gives way to the claimant when the queue is full; undefined: the claimant himself. */
  function displaced({ tenant, weight, priority }: Claimant): Tenant<Item> | undefined {
    const own = lanes[priority].tenants.get(tenant)?.items.length ?? 0;
    if (priority === "interactive") {
      const batch = greediest(lanes.batch);
      if (batch !== undefined) return batch;
    }
    const most = greediest(lanes[priority]);
    return most !== undefined && most.items.length / most.weight > (own + 1) / weight ? most : undefined;
  }

  return {
    get size() {
      return size;
    },
    admits: (claimant) => size < sizeMax || displaced(claimant) !== undefined,
    push: (item, claimant) => {
      if (size < sizeMax) {
        enqueue(lanes[claimant.priority], item, claimant);
        size += 1;
        return undefined;
      }
      const loser = displaced(claimant)?.items.pop();
      if (loser === undefined) return item;
      enqueue(lanes[claimant.priority], item, claimant);
      return loser;
    },
    shift: () => {
      const item = take(lanes.interactive) ?? take(lanes.batch);
      if (item !== undefined) size -= 1;
      return item;
    },
    remove: (item) => {
      for (const { tenants } of [lanes.interactive, lanes.batch]) {
        for (const { items } of tenants.values()) {
          const place = items.indexOf(item);
          if (place === -1) continue;
          items.splice(place, 1);
          size -= 1;
          return true;
        }
      }
      return false;
    },
    drain: () => {
      const all = [lanes.interactive, lanes.batch].flatMap(({ tenants }) =>
        [...tenants.values()].flatMap((t) => t.items),
      );
      for (const lane of [lanes.interactive, lanes.batch]) {
        lane.tenants.clear();
        lane.virtualTime = 0;
      }
      size = 0;
      return all;
    },
  };
}

function newLane<Item>(): Lane<Item> {
  return { tenants: new Map(), virtualTime: 0 };
}

function enqueue<Item>(lane: Lane<Item>, item: Item, { tenant, weight }: Claimant): void {
  const known = lane.tenants.get(tenant);
  if (known === undefined) {
    lane.tenants.set(tenant, { weight, startAt: lane.virtualTime, items: [item] });
    return;
  }
  // Whoever had nothing waiting keeps no credit for it.
  if (known.items.length === 0) known.startAt = Math.max(known.startAt, lane.virtualTime);
  known.weight = weight;
  known.items.push(item);
}

function take<Item>(lane: Lane<Item>): Item | undefined {
  let next: Tenant<Item> | undefined;
  for (const [name, tenant] of lane.tenants) {
    if (tenant.items.length > 0) {
      if (next === undefined || tenant.startAt < next.startAt) next = tenant;
    } else if (tenant.startAt <= lane.virtualTime) {
      lane.tenants.delete(name);
    }
  }
  if (next === undefined) {
    lane.tenants.clear();
    lane.virtualTime = 0;
    return undefined;
  }
  lane.virtualTime = next.startAt;
  next.startAt += 1 / next.weight;
  return next.items.shift();
}

/** Who holds most for its weight. */
function greediest<Item>({ tenants }: Lane<Item>): Tenant<Item> | undefined {
  let most: Tenant<Item> | undefined;
  for (const tenant of tenants.values()) {
    if (tenant.items.length === 0) continue;
    if (most === undefined || tenant.items.length / tenant.weight > most.items.length / most.weight) most = tenant;
  }
  return most;
}
