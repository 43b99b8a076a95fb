export { enqueue, type OutboxMessage } from "./enqueue.ts";
export {
  type Deliver,
  type Delivery,
  type Destination,
  type Relay,
  type RelayOptions,
  startRelay,
} from "./relay.ts";
