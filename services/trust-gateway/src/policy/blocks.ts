/** Protective rules (SZ-20.2): who and what is refused before anybody is asked. Pure but for the keyed digest. */
import { BlockList, isIP } from "node:net";
import type { BlockRule } from "@fujie/api/fujie/trust/v1/policy";
import type { ClaimElements } from "@fujie/identity";
import { DomainError, fieldError } from "@fujie/kit/errors";
import type { KeyRing } from "@fujie/kit/keys";
import { type ClaimTypeName, claimTypeName } from "../claims/rules.ts";
import { endMsOf } from "./times.ts";

/** A rule's id and when it ends. */
interface Rule {
  readonly ruleId: string;
  readonly endMs: number;
}

interface NetworkRule extends Rule {
  readonly network: BlockList;
}

export interface Blocks {
  readonly applications: ReadonlyMap<string, Rule>;
  readonly networks: readonly NetworkRule[];
  /** By version and digest. */
  readonly identifiers: ReadonlyMap<string, Rule>;
  readonly claimTypes: ReadonlyMap<ClaimTypeName, Rule>;
}

/** Reads the rules. Throws FIELD_INVALID naming the one that is malformed. */
export function readBlocks(rules: readonly BlockRule[]): Blocks {
  const applications = new Map<string, Rule>();
  const networks: NetworkRule[] = [];
  const identifiers = new Map<string, Rule>();
  const claimTypes = new Map<ClaimTypeName, Rule>();
  for (const [i, { ruleId, target, hmacKeyVersion, expireTime }] of rules.entries()) {
    const rule = { ruleId, endMs: endMsOf(expireTime) };
    switch (target.case) {
      case "applicationId":
        keepLonger(applications, target.value, rule);
        break;
      case "network":
        networks.push({ ...rule, network: readNetwork(target.value, `block_rules[${i}].network`) });
        break;
      case "identifierHmac":
        keepLonger(identifiers, keyOf(hmacKeyVersion, target.value), rule);
        break;
      case "claimType": {
        const type = claimTypeName(target.value);
        if (type === undefined) throw fieldError("FIELD_INVALID", `block_rules[${i}].claim_type`, "is not known");
        keepLonger(claimTypes, type, rule);
        break;
      }
      case undefined:
        throw fieldError("FIELD_INVALID", `block_rules[${i}]`, "blocks nothing");
    }
  }
  return { applications, networks, identifiers, claimTypes };
}

/** Of two rules about one thing the one that lasts longer counts. */
function keepLonger<Key>(rules: Map<Key, Rule>, key: Key, rule: Rule): void {
  if (rule.endMs > (rules.get(key)?.endMs ?? Number.NEGATIVE_INFINITY)) rules.set(key, rule);
}

function readNetwork(text: string, field: string): BlockList {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const family = isIP(address);
  const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  const fits = family !== 0 && rest.length === 0 && bits >= 0 && bits <= (family === 4 ? 32 : 128);
  if (!fits) throw fieldError("FIELD_INVALID", field, "is no network like 203.0.113.0/24");
  const network = new BlockList();
  network.addSubnet(address, bits, family === 4 ? "ipv4" : "ipv6");
  return network;
}

function keyOf(version: number, digest: Uint8Array): string {
  return `${version}:${Buffer.from(digest).toString("base64url")}`;
}

/** Who asks for what. Absent parts are not looked at: the registry is no application and asks from no network. */
export interface Asking {
  readonly claim: ClaimElements;
  readonly applicationId?: string;
  /** The caller's address. */
  readonly address?: string | undefined;
}

const IDENTIFIER_TAG = "fujie-block-identifier-v1\n";
const identifierNames: ReadonlySet<string> = new Set([
  "citizenId",
  "uscc",
  "identifier",
  "wardCitizenId",
  "phone",
  "bankCard",
]);

/**
 * The one place where blocks are enforced: called for every question, from whichever door it came, before it is
 * accepted. Throws BLOCKED naming the rule.
 */
export function requireNotBlocked(
  { ring, clock }: { readonly ring: Pick<KeyRing, "hmacAll">; readonly clock: { nowMs(): number } },
  blocks: Blocks,
  asking: Asking,
): void {
  const nowMs = clock.nowMs();
  for (const rule of matchingRules(ring, blocks, asking)) {
    if (rule.endMs > nowMs) throw new DomainError("BLOCKED", { subject: rule.ruleId });
  }
}

function* matchingRules(
  ring: Pick<KeyRing, "hmacAll">,
  { applications, networks, identifiers, claimTypes }: Blocks,
  { claim, applicationId, address }: Asking,
): Iterable<Rule> {
  const first = [applicationId === undefined ? undefined : applications.get(applicationId), claimTypes.get(claim.type)];
  yield* first.filter((rule) => rule !== undefined);
  if (address !== undefined) yield* networks.filter(({ network }) => contains(network, address));
  if (identifiers.size === 0) return;
  for (const [name, value] of Object.entries(claim)) {
    if (!identifierNames.has(name) || typeof value !== "string") continue;
    for (const { version, digest } of ring.hmacAll("consent-elements", IDENTIFIER_TAG + value)) {
      const rule = identifiers.get(keyOf(version, digest));
      if (rule !== undefined) yield rule;
    }
  }
}

function contains(network: BlockList, address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  const family = isIP(mapped);
  return family !== 0 && network.check(mapped, family === 4 ? "ipv4" : "ipv6");
}
