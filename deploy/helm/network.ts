// What network policies let through, by Kubernetes' own rule: a connection needs an egress rule of the one side and an
// ingress rule of the other, and a pod that any policy selects is closed to all that no rule opens.
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "kubernetes-types/networking/v1.js";
import { type Pod, selects } from "./render.ts";

export function mayConnect(policies: readonly NetworkPolicy[], from: Pod, to: Pod, port: number): boolean {
  return (
    rulesFor(policies, from, "Egress").some((rule) => opens(rule, port, to)) &&
    rulesFor(policies, to, "Ingress").some((rule) => opens(rule, port, from))
  );
}

interface Rule {
  readonly ports: readonly NetworkPolicyPort[];
  readonly peers: readonly NetworkPolicyPeer[];
}

/** The rules that open a pod in one direction; one that opens everything when no policy closes it. */
export function rulesFor(policies: readonly NetworkPolicy[], pod: Pod, direction: "Ingress" | "Egress"): Rule[] {
  const closing = policies.filter(
    ({ spec }) => spec?.policyTypes?.includes(direction) && selects(spec.podSelector.matchLabels, pod.labels),
  );
  if (closing.length === 0) return [{ ports: [], peers: [] }];
  return closing.flatMap(({ spec }) =>
    direction === "Egress"
      ? (spec?.egress ?? []).map(({ ports = [], to = [] }) => ({ ports, peers: to }))
      : (spec?.ingress ?? []).map(({ ports = [], from = [] }) => ({ ports, peers: from })),
  );
}

/** No ports are all ports, and no peers are all peers. */
function opens({ ports, peers }: Rule, port: number, other: Pod): boolean {
  const isPort = ports.length === 0 || ports.some((each) => each.port === port);
  return isPort && (peers.length === 0 || peers.some((peer) => isPeer(peer, other)));
}

/** All our pods are in one namespace: a peer with another one's selector is somebody else. */
function isPeer({ podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, pod: Pod): boolean {
  if (ipBlock !== undefined || namespaceSelector !== undefined) return false;
  return selects(podSelector?.matchLabels, pod.labels);
}
