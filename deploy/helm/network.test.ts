import assert from "node:assert/strict";
import { before, test } from "node:test";
import { mayConnect, rulesFor } from "./network.ts";
import { calls, ofKind, type Pod, podsOf } from "./render.ts";
import { type Rendered, renderVariants } from "./variants.ts";

let rendered: Rendered;
before(async () => {
  rendered = await renderVariants();
});

test("network policies let through exactly who calls whom", () => {
  for (const variant of ["production", "everything else", "cert-manager", "migrations by hook"]) {
    const objects = rendered.objectsOf(variant);
    const policies = ofKind(objects, "NetworkPolicy");
    const pods = podsOf(objects);
    const { data = {} } = ofKind(objects, "ConfigMap").find(({ metadata }) => metadata.name.endsWith("-auth")) ?? {};
    const port = (name: string) => Number(/\d+$/.exec(data[`FUJIE_${name}_ADDRESS`] ?? "")?.[0]);
    const component = (pod: Pod) => pod.labels["app.kubernetes.io/component"] ?? "";
    for (const from of pods) {
      for (const to of pods) {
        const [caller, called] = [component(from), component(to)];
        const id = `${variant}: ${caller} → ${called}`;
        assert.equal(mayConnect(policies, from, to, port("GRPC")), calls[caller]?.includes(called) ?? false, id);
        const readsKeys = called === "auth" && Object.hasOwn(calls, caller) && variant !== "everything else";
        assert.equal(mayConnect(policies, from, to, port("HTTP")), readsKeys, `${id} http`);
        assert.equal(mayConnect(policies, from, to, port("ADMIN")), false, `${id} admin`);
      }
    }
  }
});

test("beyond each other pods reach what the values name: DNS, the database, Redis, the collector, their own extras", () => {
  const objects = rendered.objectsOf("everything else");
  const policies = ofKind(objects, "NetworkPolicy");
  for (const pod of podsOf(objects)) {
    const component = pod.labels["app.kubernetes.io/component"] ?? "";
    const outside = rulesFor(policies, pod, "Egress")
      .filter(({ peers }) => peers.some(({ ipBlock, namespaceSelector }) => ipBlock ?? namespaceSelector))
      .flatMap(({ ports }) => ports.map(({ port }) => Number(port)));
    const serves = Object.hasOwn(calls, component);
    const expected = serves ? [53, 53, 5432, 6379, 26379, 4317] : [53, 53, 5432];
    // The gateway's trust sources, and the witnesses of the audit log.
    const reachesOut = component === "trust-gateway" || component === "audit";
    assert.deepEqual(outside, reachesOut ? [...expected, 443] : expected, component);
    const inside = rulesFor(policies, pod, "Ingress");
    assert.ok(
      inside.every(({ peers }) => peers.length > 0),
      `${component} is open to everybody`,
    );
    if (!serves) assert.deepEqual(inside, []);
  }
  assert.deepEqual(ofKind(rendered.objectsOf("sandbox"), "NetworkPolicy"), []);
});
