import { join } from "node:path";
import { CaseService } from "@fujie/api/fujie/audit/v1/cases";
import { FeedService } from "@fujie/api/fujie/feed/v1/feed";
import { AccountService } from "@fujie/api/fujie/registry/v1/accounts";
import { ApplicationService } from "@fujie/api/fujie/registry/v1/applications";
import { ArchiveService } from "@fujie/api/fujie/registry/v1/archive";
import { ConsentService } from "@fujie/api/fujie/registry/v1/consents";
import { CounterService } from "@fujie/api/fujie/registry/v1/counter";
import { DelegationService } from "@fujie/api/fujie/registry/v1/delegation";
import { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import { DisclosureService } from "@fujie/api/fujie/registry/v1/disclosures";
import { OperatorService } from "@fujie/api/fujie/registry/v1/operators";
import { OrganisationService } from "@fujie/api/fujie/registry/v1/organisations";
import { RegistrationService } from "@fujie/api/fujie/registry/v1/registrations";
import { BlockService, ClaimPolicyService, SourceService } from "@fujie/api/fujie/registry/v1/sources";
import { EvidenceService } from "@fujie/api/fujie/trust/v1/evidence";
import { PolicyService } from "@fujie/api/fujie/trust/v1/policy";
import { isLoopback } from "@fujie/kit/config";
import { type SweepTask, startSweeps, transaction } from "@fujie/kit/db";
import { feedVerifier, followFeed } from "@fujie/kit/feed";
import { openRuntime, type Runtime, type RuntimeOverrides, serve } from "@fujie/kit/runtime";
import { handler, type RunningServer } from "@fujie/kit/serve";
import { accountService } from "./accounts/rpc.ts";
import { applicationService } from "./applications/rpc.ts";
import { blockService } from "./blocks/rpc.ts";
import { CHANGES_TOPIC } from "./changes/publish.ts";
import { snapshotChanges } from "./changes/snapshot.ts";
import { claimPolicyService } from "./claim-policies/rpc.ts";
import { periodsOf, type RegistryConfig } from "./config.ts";
import { consentOwners, consentService } from "./consents/rpc.ts";
import type { Context } from "./context.ts";
import { counterService } from "./counter/rpc.ts";
import { delegationService } from "./delegation/rpc.ts";
import { directoryService } from "./directory/rpc.ts";
import { disclosureService } from "./disclosures/rpc.ts";
import { archiveService } from "./documents/rpc.ts";
import { applyDecision, askEverythingAgain, VERIFICATIONS_TOPIC } from "./gateway/follow.ts";
import { offerCeremony } from "./operators/ceremony.ts";
import { operatorService } from "./operators/rpc.ts";
import { organisationService } from "./organisations/rpc.ts";
import { startPolicyPush } from "./policy/push.ts";
import { bumpPolicy, setEnabledSources } from "./policy/store.ts";
import { registrationOwners, registrationService } from "./registrations/rpc.ts";
import { sourceService } from "./sources/rpc.ts";
import { changingSweeps, purges } from "./sweeps/sweeps.ts";

/** All services that the registry serves, for the suites that go over every method. */
export const registryServices = [
  RegistrationService,
  CounterService,
  AccountService,
  OrganisationService,
  DelegationService,
  ConsentService,
  ApplicationService,
  OperatorService,
  DirectoryService,
  SourceService,
  BlockService,
  ClaimPolicyService,
  DisclosureService,
  ArchiveService,
] as const;

export const migrationsDir = join(import.meta.dirname, "../migrations");

const SCHEMA_AT_LEAST = 5;
const SWEEP_EVERY_MS = 5_000;
const SWEEP_BATCH_MAX = 50;
/** A document of 3 MiB, in base64 when it comes as JSON, with the operator's certificates. */
const RECEIVE_BYTES_MAX = 4.5 * 1024 * 1024;

export interface RunningRegistry extends RunningServer {
  /** Does once, now, what time does by itself. */
  sweep(): Promise<void>;
}

/** Starts the registry. Disposing drains and closes everything that it opened. */
export async function startRegistry(config: RegistryConfig, overrides?: RuntimeOverrides): Promise<RunningRegistry> {
  const runtime = await openRuntime({ service: "registry", config, overrides });
  try {
    const context = createContext(runtime, config);
    const sweeps: Readonly<Record<string, SweepTask>> = {
      "sources and ceremony": prepareOnce(context, config),
      ...changingSweeps(context),
    };
    const sweep = async () => {
      for (const task of Object.values(sweeps)) await task(SWEEP_BATCH_MAX);
    };
    const server = await serve(runtime, {
      handlers: handlersOf(context),
      owners: {
        registration: (id) => registrationOwners(context, id),
        consent: (id) => consentOwners(context, id),
      },
      topics: {
        [CHANGES_TOPIC]: { peers: ["auth"], snapshot: (after, limit) => snapshotChanges(context, after, limit) },
      },
      schemaAtLeast: SCHEMA_AT_LEAST,
      limits: { receiveBytesMax: RECEIVE_BYTES_MAX },
      purge: purges(context),
    });
    const { log, timers, clock, db, bundle } = runtime;
    runtime.use(startSweeps({ tasks: sweeps, everyMs: SWEEP_EVERY_MS, batchMax: SWEEP_BATCH_MAX, log, timers }));
    runtime.use(startPolicyPush(context));
    runtime.use(
      followFeed({
        client: runtime.peer("trust-gateway")(FeedService),
        topic: VERIFICATIONS_TOPIC,
        verifier: feedVerifier(bundle, "trust-gateway"),
        log,
        timers,
        db,
        clock,
        apply: (tx, event) => applyDecision(context, tx, event),
        reset: (tx) => askEverythingAgain(context, tx),
      }),
    );
    return { ...server, sweep };
  } catch (error) {
    await runtime[Symbol.asyncDispose]();
    throw error;
  }
}

function createContext(runtime: Runtime, config: RegistryConfig): Context {
  const { clock, timers, log, db, ring } = runtime;
  const gateway = runtime.peer("trust-gateway");
  return {
    environment: config.environment,
    issuer: config.issuer,
    clock,
    timers,
    log,
    db,
    ring,
    evidence: gateway(EvidenceService),
    policy: gateway(PolicyService),
    assistance: runtime.peer("audit")(CaseService),
    periods: periodsOf(config),
    ceremony: {
      file: config.ceremonyFile,
      local: isLoopback(config.grpcAddress.host) && isLoopback(config.httpAddress.host),
    },
  };
}

function handlersOf(context: Context) {
  return [
    handler(RegistrationService, registrationService(context)),
    handler(CounterService, counterService(context)),
    handler(AccountService, accountService(context)),
    handler(OrganisationService, organisationService(context)),
    handler(DelegationService, delegationService(context)),
    handler(ConsentService, consentService(context)),
    handler(ApplicationService, applicationService(context)),
    handler(OperatorService, operatorService(context)),
    handler(DirectoryService, directoryService(context)),
    handler(SourceService, sourceService(context)),
    handler(BlockService, blockService(context)),
    handler(ClaimPolicyService, claimPolicyService(context)),
    handler(DisclosureService, disclosureService(context)),
    handler(ArchiveService, archiveService(context)),
  ];
}

/** What a start has to bring about once, as soon as the database is there, however many ask for it at once. */
function prepareOnce(context: Context, config: RegistryConfig): SweepTask {
  let preparing: Promise<void> | undefined;
  const prepare = async () => {
    const ids = config.enabledSources?.split(",") ?? [];
    await transaction(context.db, async (tx) => {
      if ((await setEnabledSources(tx, ids)) > 0) await bumpPolicy(tx);
    });
    await offerCeremony(context);
  };
  return async () => {
    preparing ??= prepare().catch((error: unknown) => {
      preparing = undefined;
      throw error;
    });
    await preparing;
    return 0;
  };
}
