export { isPublicAddress } from "./address.ts";
export {
  createEgress,
  type Egress,
  EgressError,
  type EgressOptions,
  type EgressReason,
  type EgressRequest,
  type EgressResponse,
} from "./egress.ts";
