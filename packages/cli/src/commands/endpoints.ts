import { join } from "node:path";
import { NAMED_PEOPLE } from "@fujie/sandbox/people";
import type { JourneyEnd } from "../journey/index.ts";
import type { Platform } from "../up/index.ts";
import { SERVICES } from "../up/layout.ts";

/** Everything that listens, with lines to copy. */
export function printEndpoints(platform: Platform, end: JourneyEnd | undefined, write: (line: string) => void): void {
  write("\nWhere everything is");
  for (const service of SERVICES) {
    write(
      `  ${service.padEnd(14)} gRPC ${platform.grpcTarget(service)} (TLS)   HTTP ${platform.httpUrl(service)}   metrics ${platform.adminUrl(service)}/metrics`,
    );
  }
  write(
    `  ${"sandbox".padEnd(14)} HTTP ${platform.sandboxUrl}   control ${platform.sandboxUrl}/control/population-base`,
  );
  write(
    `  ${"witness".padEnd(14)} HTTP http://127.0.0.1:${platform.ports.witness.http}   key ${platform.witnessKeyFile}`,
  );
  write(`  OpenID Connect discovery   ${platform.issuer}/.well-known/openid-configuration`);
  write(`  Local authority            ${platform.caFile}`);
  write(`  Logs                       ${platform.files.logs}`);
  if (end === undefined) return;
  const { person } = NAMED_PEOPLE.match;
  const secretFile = join(platform.files.journey, "client-secret");
  const body = JSON.stringify({
    requestId: "try-$RANDOM$RANDOM",
    claim: { type: "CLAIM_TYPE_PERSON_TWO_ELEMENT", citizenId: person.citizenId, personName: person.name },
    purpose: "housing-fund.withdrawal",
    legalBasis: "sandbox.trial",
  }).replaceAll('"', '\\"');
  write("\nTry it: get a token, then ask whether a claim about a synthetic person is true");
  write(
    `  TOKEN=$(curl -s -u ${end.clientId}:$(cat ${secretFile}) -d grant_type=client_credentials -d scope=trust.verify ${platform.issuer}/token | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`,
  );
  write(
    `  curl -s -H 'content-type: application/json' -H "authorization: Bearer $TOKEN" -d "${body}" ${platform.httpUrl("trust-gateway")}/fujie.trust.v1.VerificationService/Verify`,
  );
  write(
    `  grpcurl -cacert ${platform.caFile} -H "authorization: Bearer $TOKEN" -d '{}' ${platform.grpcTarget("auth")} fujie.auth.v1.IdentityService/WhoAmI`,
  );
  write(`  grpcurl -cacert ${platform.caFile} ${platform.grpcTarget("audit")} fujie.audit.v1.LogService/GetCheckpoint`);
  write("\nVerify the whole audit log from outside, with public keys alone");
  write(
    `  npm run fujie -- audit verify --log ${platform.httpUrl("audit")}/log --keys ${platform.bundleFile} --root ${platform.bundleRootFile} --witness "$(cat ${platform.witnessKeyFile})"`,
  );
}
