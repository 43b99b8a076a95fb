"""Visits the platform as a platform team's program would, and prints what it learnt as JSON.

Standard input: {"targets": {"auth", "trust-gateway", "audit"}, "caFile", "token", "verify": {…}}.
The token comes that way because every process can read a command line.
"""

import json
import sys

import grpc
from fujie.audit.v1 import log_pb2, log_pb2_grpc
from fujie.auth.v1 import identity_pb2, identity_pb2_grpc
from fujie.trust.v1 import verification_pb2, verification_pb2_grpc
from fujie_client import Refusal, call, connect


def main():
    visit = json.load(sys.stdin)
    channels = {name: connect(target, visit["caFile"]) for name, target in visit["targets"].items()}
    identity = identity_pb2_grpc.IdentityServiceStub(channels["auth"])
    log = log_pb2_grpc.LogServiceStub(channels["audit"])
    verifications = verification_pb2_grpc.VerificationServiceStub(channels["trust-gateway"])
    token = visit["token"]

    me = call(identity.WhoAmI, identity_pb2.WhoAmIRequest(), token)
    checkpoint = call(log.GetCheckpoint, log_pb2.GetCheckpointRequest())
    request = verification_pb2.VerifyRequest(
        request_id=visit["verify"]["requestId"],
        purpose=visit["verify"]["purpose"],
        legal_basis=visit["verify"]["legalBasis"],
        claim=verification_pb2.Claim(
            type=verification_pb2.CLAIM_TYPE_PERSON_TWO_ELEMENT,
            citizen_id=visit["verify"]["citizenId"],
            person_name=visit["verify"]["personName"],
        ),
    )
    answer = call(verifications.Verify, request, token).verification
    again = call(verifications.Verify, request, token).verification
    report = {
        "whoAmI": {"kind": me.kind, "clientId": me.client_id, "scopes": list(me.scopes)},
        "checkpoint": checkpoint.note,
        "verify": {
            "verificationId": answer.verification_id,
            "outcome": verification_pb2.Outcome.Name(answer.outcome),
            "level": answer.level,
        },
        "sameAnswerForSameRequestId": again == answer,
        "withoutToken": refusal_of(lambda: call(identity.WhoAmI, identity_pb2.WhoAmIRequest())),
        "withoutFields": refusal_of(lambda: call(verifications.Verify, verification_pb2.VerifyRequest(), token)),
        "withoutTls": code_of_clear_text(visit["targets"]["audit"]),
    }
    json.dump(report, sys.stdout, ensure_ascii=True)


def refusal_of(run):
    try:
        run()
    except Refusal as refusal:
        return {
            "code": refusal.code.name,
            "reason": refusal.reason,
            "fields": refusal.fields,
            "traceId": refusal.trace_id,
            "messages": refusal.messages,
        }
    return None


def code_of_clear_text(target):
    """The platform speaks TLS only: a clear-text channel gets no answer."""
    with grpc.insecure_channel(target) as channel:
        stub = log_pb2_grpc.LogServiceStub(channel)
        try:
            stub.GetCheckpoint(log_pb2.GetCheckpointRequest(), timeout=5)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


main()
