/**
 * Before the first journey: the one-time ceremony binds the first two administrators by certificate; they bring in the
 * other operators (one proposes, the other approves) and register two applications.
 */
import { readFileSync } from "node:fs";
import { CredentialService } from "@fujie/api/fujie/auth/v1/credentials";
import { ApplicationKind, ApplicationService } from "@fujie/api/fujie/registry/v1/applications";
import { OperatorRole, OperatorService } from "@fujie/api/fujie/registry/v1/operators";
import { ClaimType } from "@fujie/api/fujie/trust/v1/verification";
import { callService } from "../callers.ts";
import { type ApplicationCredential, type Staff, staffPerson } from "../cast.ts";
import { applyForCertificate, type Credential, proofOf } from "../certificates.ts";
import { eventually, expectRefusal, reasonOf } from "../expect.ts";
import { type Stage, signInOperator } from "../stage.ts";

export const PURPOSE = "housing-fund.withdrawal";
export const LEGAL_BASIS = "sandbox.trial";

export async function playCeremony(stage: Omit<Stage, "staff">): Promise<Staff> {
  const { platform, narrator } = stage;
  const [systemAdministrator, securityAdministrator, auditAdministrator, counterOperator] = await Promise.all([
    operatorCertificate(stage, 0, "ca-ecdsa"),
    operatorCertificate(stage, 1, "ca-sm2"),
    operatorCertificate(stage, 2, "ca-ecdsa"),
    operatorCertificate(stage, 3, "ca-sm2"),
  ]);
  const operators = callService(OperatorService, platform.httpUrl("registry"), stage);

  narrator.asks(
    "two administrators",
    "open the one-time ceremony with the code that the registry wrote to a local file",
  );
  const ceremonyCode = readFileSync(platform.files.ceremonyCode, "utf8").trim();
  const { challengeId, message } = await operators.openCeremony({ ceremonyCode });
  await operators.bindFirstAdministrators({
    ceremonyCode,
    challengeId,
    systemAdministrator: proofOf(systemAdministrator, message),
    securityAdministrator: proofOf(securityAdministrator, message),
  });
  narrator.answers("registry", "bound: a system administrator (ECDSA certificate) and a security administrator (SM2)");
  narrator.refused(
    "a second ceremony",
    await expectRefusal(operators.openCeremony({ ceremonyCode }), "CEREMONY_CLOSED"),
  );

  const system = await signInOperator(stage, systemAdministrator, [
    "registry.operators.propose",
    "registry.applications.write",
  ]);
  const security = await signInOperator(stage, securityAdministrator, ["registry.operators.approve"]);
  await bindOperator(stage, { system, security }, auditAdministrator, OperatorRole.AUDIT_ADMINISTRATOR);
  await bindOperator(stage, { system, security }, counterOperator, OperatorRole.COUNTER_OPERATOR);
  narrator.answers("registry", "an audit administrator and a counter operator: proposed by one, approved by the other");

  const portal = await registerApplication(stage, system, {
    name: "City portal",
    scopes: ["registry.registrations.write", "application.read"],
  });
  const housingFund = await registerApplication(stage, system, {
    name: "Housing provident fund",
    scopes: ["trust.verify", "application.read"],
  });
  narrator.answers("registry", "two applications: a portal that registers people, a housing fund that verifies them");
  return {
    systemAdministrator,
    securityAdministrator,
    auditAdministrator,
    counterOperator,
    portal,
    housingFund,
  };
}

async function operatorCertificate(
  { platform }: Pick<Stage, "platform">,
  index: number,
  caId: Credential["caId"],
): Promise<Credential> {
  const person = staffPerson(index);
  const subject = { kind: "person", name: person.name, identifier: person.citizenId } as const;
  return applyForCertificate(platform.sandboxUrl, caId, subject);
}

async function bindOperator(
  stage: Pick<Stage, "platform" | "trace">,
  { system, security }: { system: string; security: string },
  credential: Credential,
  role: OperatorRole,
): Promise<void> {
  const url = stage.platform.httpUrl("registry");
  const proposing = callService(OperatorService, url, { token: system, trace: stage.trace });
  const approving = callService(OperatorService, url, { token: security, trace: stage.trace });
  const requestId = crypto.randomUUID();
  // The proposed person signs too: nobody becomes an operator without holding the key.
  const message = Buffer.from(`fujie-operator-proposal-v1\n${requestId}\n${OperatorRole[role]}\n`);
  const { proposalId } = await proposing.proposeOperator({ requestId, role, proof: proofOf(credential, message) });
  await expectRefusal(proposing.decideProposal({ proposalId, approved: true }), "SCOPE_MISSING");
  await approving.decideProposal({ proposalId, approved: true });
}

async function registerApplication(
  { platform, trace }: Pick<Stage, "platform" | "trace">,
  systemToken: string,
  { name, scopes }: { name: string; scopes: string[] },
): Promise<ApplicationCredential> {
  const applications = callService(ApplicationService, platform.httpUrl("registry"), { token: systemToken, trace });
  const { applicationId, clientId, enrolmentCode } = await applications.registerApplication({
    requestId: crypto.randomUUID(),
    providerName: "Sandbox city",
    name,
    kind: ApplicationKind.CONFIDENTIAL,
    redirectUris: ["https://app.example/callback"],
    scopes,
    sector: `${clientSafe(name)}.example`,
    purposes: [{ purpose: PURPOSE, claimTypes: [ClaimType.PERSON_TWO_ELEMENT], legalBases: [LEGAL_BASIS] }],
  });
  const credentials = callService(CredentialService, platform.httpUrl("auth"), { trace });
  // auth learns of the client by the registry's feed, a moment later; the code stays unused until then.
  const issued = await eventually(
    `auth knows the client ${clientId}`,
    () => credentials.issueClientSecret({ enrolmentCode }).catch((error: unknown) => reasonOf(error)),
    (answer) => typeof answer !== "string",
  );
  if (typeof issued === "string") throw new TypeError(issued);
  return { applicationId, clientId, clientSecret: issued.clientSecret };
}

function clientSafe(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]+/g, "-");
}
