/** What auth asks of the registry. Every answer is asked afresh: a token never says more than the registry says now. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { DirectoryService } from "@fujie/api/fujie/registry/v1/directory";
import type { CertificateProofSchema } from "@fujie/api/fujie/trust/v1/certificate";
import type { Clock } from "@fujie/kit/clock";
import { DomainError } from "@fujie/kit/errors";
import { type Judged, judgeOperator, judgePerson } from "./rules.ts";

export type CertificateProof = MessageInitShape<typeof CertificateProofSchema>;

/** Whose credential an enrolment code binds. */
export type Enrolled =
  | { readonly kind: "account"; readonly accountId: string; readonly loginName: string }
  | { readonly kind: "client"; readonly clientId: string };

export interface Subject {
  readonly subject: string;
  readonly kind: "person" | "operator";
}

export interface Directory {
  /** Takes the one-time code for one use, which may be repeated under its id. Throws ENROLMENT_INVALID. */
  redeem(enrolmentCode: string, requestId: string): Promise<Enrolled>;
  /** What a token about the subject may say now. Throws when the registry does not answer: nobody is guessed about. */
  judge(subject: Subject, organisationId: string | undefined): Promise<Judged>;
  /** Whose certificate signed the message. Throws CREDENTIALS_INVALID and the reasons of certificates. */
  match(message: Uint8Array, proof: CertificateProof): Promise<Subject>;
  /** The account's random subject id in the sector. */
  pairwiseSubject(accountId: string, sector: string): Promise<string>;
}

/** Pairwise ids never change while the account lives, so the last ones are remembered. */
const PAIRWISE_MAX = 10_000;

export function createDirectory(client: Client<typeof DirectoryService>, clock: Clock): Directory {
  const pairwise = new Map<string, string>();

  return {
    async redeem(enrolmentCode, requestId) {
      const { holder, loginName } = await client.redeemEnrolment({ enrolmentCode, requestId });
      if (holder.case === "accountId") return { kind: "account", accountId: holder.value, loginName };
      if (holder.case === "clientId") return { kind: "client", clientId: holder.value };
      throw new DomainError("ENROLMENT_INVALID");
    },
    async judge({ subject, kind }, organisationId) {
      try {
        if (kind === "operator") return judgeOperator(await client.getOperator({ operatorId: subject }), clock.nowMs());
        const answer = await client.getSubject({ accountId: subject, organisationId: organisationId ?? "" });
        return judgePerson(answer, organisationId);
      } catch (error) {
        if (error instanceof DomainError && gone.has(error.reason)) return { ok: false, reason: error.reason };
        throw error;
      }
    },
    async match(message, proof) {
      const { holder } = await client.matchCertificate({ message, proof });
      if (holder.case === "accountId") return { subject: holder.value, kind: "person" };
      if (holder.case === "operatorId") return { subject: holder.value, kind: "operator" };
      throw new DomainError("CREDENTIALS_INVALID");
    },
    async pairwiseSubject(accountId, sector) {
      const key = JSON.stringify([accountId, sector]);
      const known = pairwise.get(key);
      if (known !== undefined) return known;
      const { subject } = await client.getPairwiseSubject({ accountId, sector });
      const oldest = pairwise.size >= PAIRWISE_MAX ? pairwise.keys().next().value : undefined;
      if (oldest !== undefined) pairwise.delete(oldest);
      pairwise.set(key, subject);
      return subject;
    },
  };
}

const gone: ReadonlySet<string> = new Set(["ACCOUNT_NOT_FOUND", "OPERATOR_NOT_FOUND"]);
