export { enqueue, type OutboxMessage } from "./enqueue.ts";
export { type OutboxNumbers, type ReconcileOptions, startReconciling, type TellNumbers } from "./reconcile.ts";
export {
  type Deliver,
  type Delivery,
  type Destination,
  type Relay,
  type RelayOptions,
  startRelay,
} from "./relay.ts";
