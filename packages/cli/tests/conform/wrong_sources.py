"""Sources that are wrong in one thing each, made of the example by changing just that. Prints {"name": port} as JSON.

usage: wrong_sources.py SETTINGS EXAMPLE_FOLDER
"""

import json
import re
import signal
import sys
import threading
import time
from concurrent import futures

import grpc
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

with open(sys.argv[1], encoding="utf-8") as stream:
    SETTINGS = json.load(stream)
sys.path.insert(0, sys.argv[2])

import server as example  # noqa: E402
from fujie.source.v1 import source_pb2 as pb  # noqa: E402
from fujie.source.v1 import source_pb2_grpc  # noqa: E402

# Two types are enough here: one of the first and one of the later ones.
example.ELEMENTS = {
    kind: example.ELEMENTS[kind]
    for kind in (pb.CLAIM_TYPE_PERSON_TWO_ELEMENT, pb.CLAIM_TYPE_PERSON_BANK_CARD_PHONE)
}


class Distorting(example.TrustSource):
    """Changes what was asserted and signs that: once for each check, so that repeats stay what they are."""

    def __init__(self, settings):
        super().__init__(settings)
        self.given = {}

    def check(self, request):
        return self.distorted(request.biz_seq, super().check(request))

    def outcome(self, biz_seq):
        return self.distorted(biz_seq, super().outcome(biz_seq))

    def distorted(self, biz_seq, signed):
        with self.lock:
            if biz_seq not in self.given:
                assertion = pb.Assertion.FromString(signed.assertion)
                self.distort(assertion)
                self.given[biz_seq] = self.signer.sign(assertion)
            return self.given[biz_seq]


class WrongNonce(Distorting):
    def distort(self, assertion):
        assertion.nonce = bytes(32)


class HighLevel(Distorting):
    def distort(self, assertion):
        assertion.level += 1


class OldClock(Distorting):
    def distort(self, assertion):
        assertion.check_time.seconds -= 600


class HalfDigest(Distorting):
    """Knows only the digest of the first claim types."""

    def check(self, request):
        elements = request.elements
        self.half = (request.nonce, elements.citizen_id, elements.person_name)
        return super().check(request)

    def distort(self, assertion):
        nonce, citizen_id, person_name = self.half
        first = pb.Elements(citizen_id=citizen_id, person_name=person_name)
        assertion.elements_digest = example.digest_elements(nonce, pb.CLAIM_TYPE_PERSON_TWO_ELEMENT, first)


class DerSignature(Distorting):
    """Signs as OpenSSL does by default."""

    def distorted(self, biz_seq, signed):
        r, s = (int.from_bytes(half, "big") for half in (signed.signature[:32], signed.signature[32:]))
        return pb.SignedAssertion(
            assertion=signed.assertion, signature=encode_dss_signature(r, s), key_id=signed.key_id
        )


class OtherOnRepeat(example.TrustSource):
    def repeat(self, known, request):
        assertion = pb.Assertion.FromString(super().repeat(known, request).assertion)
        assertion.verdict = pb.VERDICT_MISMATCH
        return self.signer.sign(assertion)


class AnyForm(example.TrustSource):
    """Does not look at check characters."""

    def require_form(self, request):
        corrected = pb.CheckRequest()
        corrected.CopyFrom(request)
        number = request.elements.citizen_id
        if re.fullmatch(r"[1-9][0-9]{16}[0-9X]", number):
            possible = (number[:17] + last for last in "0123456789X")
            corrected.elements.citizen_id = next(one for one in possible if check_character_fits(one))
        super().require_form(corrected)


def check_character_fits(number):
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(digit) * weight for digit, weight in zip(number, weights)) % 11] == number[17]


class Talkative(example.TrustSource):
    def check(self, request):
        try:
            return super().check(request)
        except example.Refusal as refusal:
            refusal.message += ": " + request.elements.citizen_id
            raise


class AnyService(example.TrustSource):
    """Serves whoever has a certificate of the authority."""

    def _serve(self, context, handle):
        class Trusting:
            def auth_context(self):
                return {"x509_pem_cert": (PLATFORM_PEM,)}

            def __getattr__(self, name):
                return getattr(context, name)

        return super()._serve(Trusting(), handle)


class SignsForEachNonce(example.TrustSource):
    def repeat(self, known, request):
        assertion = pb.Assertion.FromString(super().repeat(known, request).assertion)
        if assertion.nonce == request.nonce:
            return known
        return self.signer.sign(self.make_assertion(request, assertion.verdict))


class AnyElements(example.TrustSource):
    """A biz_seq alone is enough for the first answer."""

    def repeat(self, known, request):
        return known


class Racing(example.TrustSource):
    """Looks and stores without a lock: of duplicates each gets an answer of its own."""

    def check(self, request):
        self.require_form(request)
        with self.lock:
            known = self.answers.find(request.biz_seq)
        if known is not None:
            return self.repeat(known, request)
        time.sleep(0.05)
        verdict = self.records.look_up(request.claim_type, request.elements)
        signed = self.signer.sign(self.make_assertion(request, verdict))
        with self.lock:
            if self.answers.find(request.biz_seq) is None:
                self.answers.keep(request.biz_seq, signed)
        return signed


class Broken(example.TrustSource):
    """Breaks where it must refuse, and must not say over what."""

    def repeat(self, known, request):
        try:
            return super().repeat(known, request)
        except example.Refusal:
            raise KeyError(request.elements.citizen_id) from None


class OpenDoor(AnyService):
    """Does not even ask for a certificate."""


VARIANTS = {
    "wrong-nonce": WrongNonce,
    "high-level": HighLevel,
    "old-clock": OldClock,
    "half-digest": HalfDigest,
    "der-signature": DerSignature,
    "other-on-repeat": OtherOnRepeat,
    "any-form": AnyForm,
    "talkative": Talkative,
    "any-service": AnyService,
    "open-door": OpenDoor,
    "signs-for-each-nonce": SignsForEachNonce,
    "any-elements": AnyElements,
    "racing": Racing,
    "broken": Broken,
}

with open(SETTINGS["platformCertFile"], "rb") as stream:
    PLATFORM_PEM = stream.read()


def open_credentials():
    with open(SETTINGS["tls"]["keyFile"], "rb") as key, open(SETTINGS["tls"]["certFile"], "rb") as cert:
        return grpc.ssl_server_credentials([(key.read(), cert.read())])


def start(variant):
    settings = {**SETTINGS, "database": f"{SETTINGS['database']}.{variant.__name__}"}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=example.OPTIONS)
    source_pb2_grpc.add_TrustSourceServiceServicer_to_server(variant(settings), server)
    credentials = open_credentials() if variant is OpenDoor else example.read_credentials(settings["tls"])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


RUNNING = {name: start(variant) for name, variant in VARIANTS.items()}
print(json.dumps({name: port for name, (_, port) in RUNNING.items()}), flush=True)
STOPPING = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: STOPPING.set())
STOPPING.wait()
for server, _ in RUNNING.values():
    server.stop(grace=None)
