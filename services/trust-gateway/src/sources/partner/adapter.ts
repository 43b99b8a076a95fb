import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ClaimType, TrustSourceService } from "@fujie/api/fujie/source/v1/source";
import { RetryInfoSchema } from "@fujie/api/google/rpc/error_details";
import { connectPeer } from "@fujie/kit/clients";
import type { AdapterContext, ClaimAdapter } from "../adapter.ts";
import { unanswerable } from "../base-answer.ts";
import {
  type Check,
  type MaintenanceWindow,
  type Source,
  SourceError,
  type SourceFacts,
  type SourceFault,
} from "../source.ts";
import { claimTypeOf, type Expectation, readAssertion, writeElements } from "./rules.ts";
import { type PartnerSettings, readSettings } from "./settings.ts";

export const adapter: ClaimAdapter<PartnerSettings> = { readSettings, open };

const ANSWER_BYTES_MAX = 64 * 1024;
const WINDOWS_MAX = 64;

function open(facts: SourceFacts, settings: PartnerSettings, { clock, identity }: AdapterContext): Source {
  const { target, peerName, clientId, assertionKeys } = settings;
  const peer = connectPeer({ target, service: peerName, identity, receiveBytesMax: ANSWER_BYTES_MAX });
  const client = peer(TrustSourceService);
  const expectation = (check: Check, live: boolean): Expectation => ({
    sourceId: facts.id,
    audience: clientId,
    keys: assertionKeys,
    check,
    level: facts.level,
    nowMs: clock.nowMs(),
    live,
  });
  const outcomeOf = async (bizSeq: string, signal: AbortSignal) => {
    try {
      return (await call(() => client.getOutcome({ bizSeq }, { signal }))).assertion;
    } catch (error) {
      if (error instanceof SourceError && codeOf(error.cause) === Code.NotFound) return "never-arrived";
      throw error;
    }
  };
  return {
    ...facts,
    check: async (check, signal) => {
      const { bizSeq, nonce, purpose, claim } = check;
      const claimType = claimTypeOf(claim);
      if (claimType === undefined) throw unanswerable();
      const request = { bizSeq, nonce, purpose, audience: clientId, claimType };
      const { assertion } = await call(() => client.check({ ...request, elements: writeElements(claim) }, { signal }));
      return readAssertion(assertion, expectation(check, true));
    },
    findOutcome: async (check, signal) => {
      const assertion = await outcomeOf(check.bizSeq, signal);
      return assertion === "never-arrived" ? undefined : readAssertion(assertion, expectation(check, false));
    },
    wasAnswered: async (bizSeq, signal) => (await outcomeOf(bizSeq, signal)) !== "never-arrived",
    describe: async (signal) => {
      const { maintenance, claimTypes, level } = await call(() => client.describe({}, { signal }));
      const windows = maintenance
        .slice(0, WINDOWS_MAX)
        .flatMap(({ startTime, endTime }): MaintenanceWindow[] =>
          startTime === undefined || endTime === undefined
            ? []
            : [{ startMs: timestampMs(startTime), endMs: timestampMs(endTime) }],
        );
      // A newer contract may have types that we do not know.
      const known = facts.claimTypes.filter((type) => claimTypes.some((each) => ClaimType[each] === type));
      return { maintenance: windows, claimTypes: known, level };
    },
    [Symbol.dispose]: () => peer[Symbol.dispose](),
  };
}

async function call<Reply>(send: () => Promise<Reply>): Promise<Reply> {
  try {
    return await send();
  } catch (cause) {
    const status = connectErrorOf(cause);
    const retryAfterMs = status === undefined ? undefined : retryAfterOf(status);
    const details = { cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
    throw new SourceError(faultOf(status, retryAfterMs), `answered ${Code[status?.code ?? Code.Unknown]}`, details);
  }
}

const refusals: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.AlreadyExists,
  Code.NotFound,
  Code.PermissionDenied,
  Code.Unauthenticated,
  Code.FailedPrecondition,
  Code.Unimplemented,
]);

/** UNAVAILABLE is the source's own word when it says when to come back, and a broken connection's otherwise. */
function faultOf(status: ConnectError | undefined, retryAfterMs: number | undefined): SourceFault {
  if (status === undefined) return "UNKNOWN";
  if (status.code === Code.ResourceExhausted) return "LIMITED";
  if (status.code === Code.Unavailable && retryAfterMs !== undefined) return "AWAY";
  return refusals.has(status.code) ? "REFUSED" : "UNKNOWN";
}

function connectErrorOf(error: unknown): ConnectError | undefined {
  if (error instanceof ConnectError) return error;
  return error instanceof Error && error.cause instanceof ConnectError ? error.cause : undefined;
}

function codeOf(error: unknown): Code | undefined {
  return connectErrorOf(error)?.code;
}

function retryAfterOf(status: ConnectError): number | undefined {
  const delay = status.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? undefined : Number(delay.seconds) * 1_000 + delay.nanos / 1e6;
}
