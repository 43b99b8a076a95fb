/** What people do in these tests, in few words. */
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { ApplicationKind, ApplicationService } from "@fujie/api/fujie/registry/v1/applications";
import { CounterService, Decision, DocumentType } from "@fujie/api/fujie/registry/v1/counter";
import { OperatorRole, OperatorService } from "@fujie/api/fujie/registry/v1/operators";
import { OrganisationService } from "@fujie/api/fujie/registry/v1/organisations";
import { RegistrationService } from "@fujie/api/fujie/registry/v1/registrations";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { ErrorInfoSchema } from "@fujie/api/google/rpc/error_details";
import { DomainError } from "@fujie/kit/errors";
import { decisionMessage } from "../src/counter/rules.ts";
import { proposalMessage } from "../src/operators/rules.ts";
import { agreementAt } from "../src/registrations/agreements/index.ts";
import { type Claims, citizenId, proofOf, type TestCertificate, type World } from "./world.ts";

/** The reason of a refused call: `await assert.rejects(call, because("ROLE_FORBIDDEN"))`. */
export function because(reason: string): (error: unknown) => boolean {
  return (error) => {
    const found = reasonOf(error);
    if (found !== reason) throw new Error(`refused because ${found}, not ${reason}`, { cause: error });
    return true;
  };
}

/** What the caller's own fault is comes from the kit's client as the cause of a plain error. */
function reasonOf(error: unknown): string {
  if (error instanceof DomainError) return error.reason;
  if (error instanceof ConnectError) return error.findDetails(ErrorInfoSchema)[0]?.reason ?? String(error);
  return error instanceof Error && error.cause !== undefined ? reasonOf(error.cause) : String(error);
}

/** The platform's people: each with a certificate of one CA. */
export const staff = {
  system: { caId: "ca-ecdsa", citizenId: citizenId(900) },
  security: { caId: "ca-ecdsa", citizenId: citizenId(901) },
  counter: { caId: "ca-ecdsa", citizenId: citizenId(902) },
} satisfies Record<string, TestCertificate>;

export interface Staff {
  readonly system: Claims;
  readonly security: Claims;
  readonly counter: Claims;
}

const SYSTEM_SCOPES =
  "registry.applications.write registry.operators.propose registry.operators.read registry.accounts.read";
const SECURITY_SCOPES = "registry.operators.approve registry.operators.read registry.accounts.suspend";

/** Runs the ceremony and appoints a counter operator. */
export async function appointStaff(world: World): Promise<Staff> {
  const [systemId, securityId] = await holdCeremony(world);
  const system = { sub: systemId, kind: "operator", scope: SYSTEM_SCOPES } as const;
  const security = { sub: securityId, kind: "operator", scope: SECURITY_SCOPES } as const;
  const counterId = await appoint(world, { system, security }, staff.counter, OperatorRole.COUNTER_OPERATOR);
  return { system, security, counter: { sub: counterId, kind: "operator", scope: "registry.counter" } };
}

export function ceremonyCode({ ceremonyFile }: World): string {
  return readFileSync(ceremonyFile, "utf8").trim();
}

export async function holdCeremony(world: World): Promise<[systemId: string, securityId: string]> {
  const operators = world.peer(OperatorService);
  const code = ceremonyCode(world);
  const { challengeId, message } = await operators.openCeremony({ ceremonyCode: code });
  const bound = await operators.bindFirstAdministrators({
    ceremonyCode: code,
    challengeId,
    systemAdministrator: proofOf(staff.system, message),
    securityAdministrator: proofOf(staff.security, message),
  });
  return [bound.systemAdministratorId, bound.securityAdministratorId];
}

export async function propose(world: World, system: Claims, person: TestCertificate, role: OperatorRole) {
  const requestId = randomUUID();
  const names = {
    1: "SYSTEM_ADMINISTRATOR",
    2: "SECURITY_ADMINISTRATOR",
    3: "AUDIT_ADMINISTRATOR",
    4: "COUNTER_OPERATOR",
  } as const;
  const message = proposalMessage(requestId, names[role === OperatorRole.UNSPECIFIED ? 4 : role]);
  const request = { requestId, role, proof: proofOf(person, message) };
  return (await world.peer(OperatorService).proposeOperator(request, world.as(system))).proposalId;
}

export async function appoint(
  world: World,
  { system, security }: Pick<Staff, "system" | "security">,
  person: TestCertificate,
  role: OperatorRole,
): Promise<string> {
  const proposalId = await propose(world, system, person, role);
  const decided = await world.peer(OperatorService).decideProposal({ proposalId, approved: true }, world.as(security));
  return decided.operatorId;
}

export async function registerApplication(world: World, { system }: Pick<Staff, "system">, overrides = {}) {
  const request = {
    requestId: randomUUID(),
    providerName: "Housing Fund Centre",
    name: "Housing Fund",
    kind: ApplicationKind.CONFIDENTIAL,
    redirectUris: ["https://fund.example/callback"],
    scopes: ["openid", "trust.verify", "application.read", "registry.registrations.write"],
    sector: "fund.example",
    purposes: [{ purpose: "housing-fund.withdrawal", claimTypes: [ClaimType.PERSON_TWO_ELEMENT], legalBases: [] }],
    ...overrides,
  };
  return world.peer(ApplicationService).registerApplication(request, world.as(system));
}

/** A portal that registers people. */
export const portal: Claims = {
  sub: "portal-client",
  kind: "application",
  app: "portal",
  scope: "registry.registrations.write",
};

export function acceptance(world: World) {
  const { version, sha256, noticeVersion } = agreementAt(world.time.clock.nowMs());
  return { agreementVersion: version, agreementSha256: sha256, noticeVersion };
}

export interface Somebody {
  readonly citizenId: string;
  readonly name: string;
  readonly loginName: string;
}

/** Somebody who does not exist, another for each number. */
export function somebody(number: number): Somebody {
  return {
    citizenId: citizenId(number),
    name: `测试${"甲乙丙丁戊己庚辛壬癸".charAt(number % 10)}`,
    loginName: `person.no${number}`,
  };
}

export async function registerPerson(world: World, person: Somebody, overrides = {}) {
  const request = { requestId: randomUUID(), ...person, acceptance: acceptance(world), ...overrides };
  return world.peer(RegistrationService).registerPerson(request, world.as(portal));
}

export const PHOTO = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(64, 7)]);

export async function archivePhoto(world: World, counter: Claims, registrationId: string, overrides = {}) {
  const request = {
    requestId: randomUUID(),
    registrationId,
    type: DocumentType.PERSON_WITH_DOCUMENT,
    mediaType: "image/jpeg",
    content: PHOTO,
    sha256: createHash("sha256").update(PHOTO).digest(),
    ...overrides,
  };
  return (await world.peer(CounterService).archiveDocument(request, world.as(counter))).documentId;
}

export async function decide(
  world: World,
  counter: Claims,
  registrationId: string,
  documentIds: string[],
  overrides: {
    certificate?: TestCertificate;
    decision?: Decision;
    requestId?: string;
    signedAs?: "CONFIRM" | "REFUSE";
  } = {},
) {
  const decision = overrides.decision ?? Decision.CONFIRM;
  const nowMs = world.time.clock.nowMs();
  const name = overrides.signedAs ?? (decision === Decision.CONFIRM ? "CONFIRM" : "REFUSE");
  const signed = { registrationId, decision: name, documentIds, decidedAt: new Date(nowMs) } as const;
  const proof = proofOf(overrides.certificate ?? staff.counter, decisionMessage(signed));
  const requestId = overrides.requestId ?? randomUUID();
  const request = { requestId, registrationId, decision, documentIds, decideTime: timestampFromMs(nowMs), proof };
  return world.peer(CounterService).decideRegistration(request, world.as(counter));
}

const PERSON_SCOPES =
  "account.read account.write organisation.register organisation.read delegation.read delegation.write consent.read consent.write";

/** The token of a person as auth would give it. */
export function person(accountId: string, more: Partial<Claims> = {}): Claims {
  return { sub: accountId, kind: "person", level: 2, sid: `session-of-${accountId}`, scope: PERSON_SCOPES, ...more };
}

/** Somebody from registration to real-name account. */
export async function becomeRealName(world: World, { counter }: Pick<Staff, "counter">, who: Somebody) {
  const { registrationId, accountId } = await registerPerson(world, who);
  const documentId = await archivePhoto(world, counter, registrationId);
  const { enrolmentCode } = await decide(world, counter, registrationId, [documentId]);
  return { accountId, registrationId, enrolmentCode, claims: person(accountId) };
}

export async function registerOrganisation(
  world: World,
  claims: Claims,
  organisation: { uscc: string; name: string },
  overrides: {
    certificate?: TestCertificate;
    challengeId?: string;
    message?: Uint8Array;
    requestId?: string;
  } & object = {},
) {
  const organisations = world.peer(OrganisationService);
  const challenge = await organisations.createChallenge({}, world.as(claims));
  const certificate = overrides.certificate ?? { caId: "ca-sm2", uscc: organisation.uscc };
  const request = {
    requestId: overrides.requestId ?? randomUUID(),
    challengeId: overrides.challengeId ?? challenge.challengeId,
    ...organisation,
    proof: proofOf(certificate, overrides.message ?? challenge.message),
    acceptance: acceptance(world),
  };
  return organisations.registerOrganisation(request, world.as(claims));
}
