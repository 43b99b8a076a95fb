"""What a team needs around the stubs that protoc makes: TLS, a token, a deadline, retries, and the reason of a refusal."""

import random
import time

import grpc
from google.rpc import error_details_pb2, status_pb2

# The refusals of which docs/return-codes.md says that the same call may succeed later.
RETRYABLE_CODES = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class Refusal(Exception):
    """A call was refused. Decide by `reason`, never by the text."""

    def __init__(self, error):
        self.code = error.code()
        self.reason = ""
        self.trace_id = ""
        self.fields = []
        self.retry_after_s = None
        self.messages = {}
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                for detail in status_pb2.Status.FromString(value).details:
                    self._read(detail)
        super().__init__(f"{self.code.name}/{self.reason or '?'} (trace {self.trace_id or '?'})")

    def _read(self, detail):
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        localized = error_details_pb2.LocalizedMessage()
        if detail.Unpack(info) and info.domain == "fujie":
            self.reason, self.trace_id = info.reason, info.metadata["trace_id"]
        elif detail.Unpack(bad_request):
            self.fields = [violation.field for violation in bad_request.field_violations]
        elif detail.Unpack(retry):
            self.retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif detail.Unpack(localized):
            self.messages[localized.locale] = localized.message


def connect(target, ca_file):
    """A channel to one service, over TLS that trusts the authority in `ca_file` alone. Keep it: it is made for reuse."""
    with open(ca_file, "rb") as pem:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(root_certificates=pem.read()))


def call(method, request, token=None, timeout_s=10.0, attempts=4):
    """Calls a stub's method. Repeats what may be repeated, with the very same request (and so the same request_id)."""
    metadata = [] if token is None else [("authorization", "Bearer " + token)]
    end = time.monotonic() + timeout_s
    for attempt in range(1, attempts + 1):
        try:
            return method(request, metadata=metadata, timeout=max(end - time.monotonic(), 0.001))
        except grpc.RpcError as error:
            refusal = Refusal(error)
        if attempt == attempts or (refusal.retry_after_s is None and refusal.code not in RETRYABLE_CODES):
            raise refusal
        backoff_s = random.uniform(0.5, 1) * 0.1 * 2**attempt
        wait_s = backoff_s if refusal.retry_after_s is None else refusal.retry_after_s
        if time.monotonic() + wait_s >= end:
            raise refusal
        time.sleep(wait_s)
