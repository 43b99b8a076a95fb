"""A trust source: fujie.source.v1 in Python, written from docs/trust-source-access.md. See README.md.

    certificate -> forms -> maintenance? -> biz_seq known? -> rate -> look up -> sign -> store -> answer
"""

import argparse
import datetime
import hashlib
import json
import re
import signal
import sqlite3
import sys
import threading
import time
import unicodedata
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from fujie.source.v1 import source_pb2 as pb
from fujie.source.v1 import source_pb2_grpc

PLATFORM_URI = "spiffe://fujie/trust-gateway"
ASSERTION_DOMAIN = b"fujie-source-assertion-v1\n"
OPTIONS = [
    ("grpc.max_receive_message_length", 1024 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.so_reuseport", 0),
]
KEEP_S = 30 * 24 * 3600

# The claim types that this source answers, and exactly the elements of each (section 5).
ELEMENTS = {
    pb.CLAIM_TYPE_PERSON_TWO_ELEMENT: ("citizen_id", "person_name"),
    pb.CLAIM_TYPE_LEGAL_PERSON: ("uscc", "organisation_name"),
    pb.CLAIM_TYPE_LEGAL_REPRESENTATIVE: ("uscc", "organisation_name", "citizen_id"),
    pb.CLAIM_TYPE_PERSON_CARRIER: ("citizen_id", "person_name", "phone"),
    pb.CLAIM_TYPE_PERSON_BANK_CARD_PHONE: ("citizen_id", "person_name", "bank_card", "phone"),
    pb.CLAIM_TYPE_DOCUMENT_VALIDITY: ("citizen_id", "person_name", "document_expire_date"),
    pb.CLAIM_TYPE_GUARDIAN: ("citizen_id", "person_name", "ward_citizen_id", "ward_name"),
}


class Refusal(Exception):
    """A call is refused. The message never holds an element (section 8)."""

    def __init__(self, code, message, field=None, retry_after_s=None):
        super().__init__(message)
        self.code, self.message, self.field, self.retry_after_s = code, message, field, retry_after_s

    def details(self):
        if self.field is not None:
            violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.message)
            yield error_details_pb2.BadRequest(field_violations=[violation])
        if self.retry_after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(max(1, int(self.retry_after_s * 1000)))
            yield retry


def malformed(field, message="is not of its form"):
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, field=field)


# --- Forms (section 5) ---


def is_date(text):
    try:
        return re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None and bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def is_citizen_id(text):
    if not re.fullmatch(r"[1-9][0-9]{16}[0-9X]", text):
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(text, weights))
    return is_date(f"{text[6:10]}-{text[10:12]}-{text[12:14]}") and "10X98765432"[total % 11] == text[17]


def is_uscc(text):
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    if len(text) != 18 or any(character not in alphabet for character in text):
        return False
    total = sum(alphabet.index(character) * pow(3, i, 31) for i, character in enumerate(text[:17]))
    return alphabet[(31 - total % 31) % 31] == text[17]


def is_bank_card(text):
    if not re.fullmatch(r"[0-9]{13,19}", text):
        return False
    doubled = [int(digit) * 2 if i % 2 else int(digit) for i, digit in enumerate(reversed(text))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_name(text, length_max):
    return 1 <= len(text) <= length_max and all(
        unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") for character in text
    )


FORMS = {
    "citizen_id": is_citizen_id,
    "ward_citizen_id": is_citizen_id,
    "person_name": lambda text: is_name(text, 100),
    "ward_name": lambda text: is_name(text, 100),
    "uscc": is_uscc,
    "organisation_name": lambda text: is_name(text, 200),
    "phone": lambda text: re.fullmatch(r"1[3-9][0-9]{9}", text) is not None,
    "bank_card": is_bank_card,
    "document_expire_date": lambda text: text == "LONG-TERM" or is_date(text),
    # No claim type of this source has it.
    "face_image": lambda _: False,
}


def require_check(request):
    """Raises Refusal that names the field for everything that is not of its form."""
    require_biz_seq(request.biz_seq)
    if request.claim_type not in ELEMENTS:
        raise malformed("claim_type", "is not one that this source answers")
    if not re.fullmatch(r"[\x21-\x7e]{1,64}", request.purpose):
        raise malformed("purpose")
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", request.audience):
        raise malformed("audience")
    if not 16 <= len(request.nonce) <= 64:
        raise malformed("nonce")
    for element, is_form in FORMS.items():
        value = getattr(request.elements, element)
        needed = element in ELEMENTS[request.claim_type]
        if needed and not is_form(value):
            raise malformed(f"elements.{element}")
        if not needed and len(value) > 0:
            raise malformed(f"elements.{element}", "is not an element of this claim type")


def require_biz_seq(biz_seq):
    if not re.fullmatch(r"[0-9a-f]{32}", biz_seq):
        raise malformed("biz_seq")


# --- Records ---


def same_name(one, other):
    def key(name):
        return unicodedata.normalize("NFC", name).casefold().replace("(", "（").replace(")", "）")

    return key(one) == key(other)


class Records:
    """What this source knows: a file here, the core banking system elsewhere."""

    def __init__(self, file):
        with open(file, encoding="utf-8") as stream:
            records = json.load(stream)
        self.people = {person["citizenId"]: person for person in records["people"]}
        self.organisations = {one["uscc"]: one for one in records["organisations"]}

    def look_up(self, claim_type, elements):
        """The verdict: every element agrees, or one differs, or nobody is known by the identifier."""
        if "uscc" in ELEMENTS[claim_type]:
            record = self.organisations.get(elements.uscc)
            name, given = "name", elements.organisation_name
        else:
            record = self.people.get(elements.citizen_id)
            name, given = "name", elements.person_name
        if record is None:
            return pb.VERDICT_NO_RECORD
        agrees = same_name(record[name], given) and self._agrees(claim_type, record, elements)
        return pb.VERDICT_MATCH if agrees else pb.VERDICT_MISMATCH

    def _agrees(self, claim_type, record, elements):
        if claim_type == pb.CLAIM_TYPE_LEGAL_REPRESENTATIVE:
            return record["legalRepresentative"] == elements.citizen_id
        if claim_type == pb.CLAIM_TYPE_PERSON_CARRIER:
            return elements.phone in record["phones"]
        if claim_type == pb.CLAIM_TYPE_PERSON_BANK_CARD_PHONE:
            return record["bankCards"].get(elements.bank_card) == elements.phone
        if claim_type == pb.CLAIM_TYPE_DOCUMENT_VALIDITY:
            expires = record["documentExpireDate"]
            lasts = expires == "LONG-TERM" or expires >= datetime.date.today().isoformat()
            return lasts and expires == elements.document_expire_date
        if claim_type == pb.CLAIM_TYPE_GUARDIAN:
            ward = self.people.get(elements.ward_citizen_id)
            related = elements.ward_citizen_id in record["wards"]
            return related and ward is not None and same_name(ward["name"], elements.ward_name)
        return True


# --- Assertions (sections 5 and 6) ---


def digest_elements(nonce, claim_type, elements):
    parts = [elements.citizen_id, elements.person_name, elements.uscc, elements.organisation_name]
    parts = [part.encode() for part in parts]
    if claim_type >= pb.CLAIM_TYPE_PERSON_CARRIER:
        face = hashlib.sha256(elements.face_image).digest() if elements.face_image else b""
        parts += [elements.phone.encode(), elements.bank_card.encode(), face]
        parts += [elements.document_expire_date.encode(), elements.ward_citizen_id.encode(), elements.ward_name.encode()]
    return hashlib.sha256(nonce + b"\0".join(parts)).digest()


class Signer:
    def __init__(self, key_id, file):
        with open(file, "rb") as pem:
            self._key = serialization.load_pem_private_key(pem.read(), password=None)
        self._key_id = key_id

    def sign(self, assertion):
        """Serialises once: these very bytes are signed, stored and sent."""
        data = assertion.SerializeToString()
        r, s = decode_dss_signature(self._key.sign(ASSERTION_DOMAIN + data, ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return pb.SignedAssertion(assertion=data, signature=signature, key_id=self._key_id)


class Answers:
    """Every answer that was given, by biz_seq, on disk before it is sent (section 7). It holds no element."""

    def __init__(self, file):
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS answers (biz_seq TEXT PRIMARY KEY, signed BLOB NOT NULL, at_s INTEGER NOT NULL)"
        )

        self._db.execute("CREATE INDEX IF NOT EXISTS answers_at ON answers (at_s)")

    def find(self, biz_seq):
        row = self._db.execute("SELECT signed FROM answers WHERE biz_seq = ?", (biz_seq,)).fetchone()
        return None if row is None else pb.SignedAssertion.FromString(row[0])

    def keep(self, biz_seq, signed):
        now_s = int(time.time())
        self._db.execute("INSERT INTO answers VALUES (?, ?, ?)", (biz_seq, signed.SerializeToString(), now_s))
        self._db.execute("DELETE FROM answers WHERE at_s < ?", (now_s - KEEP_S,))

    def close(self):
        self._db.close()


class Rate:
    """At most so many a second; says how long to wait otherwise."""

    def __init__(self, per_second):
        self._per_second, self._second, self._taken = per_second, 0, 0

    def take(self):
        now = time.time()
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        if self._taken >= self._per_second:
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "over the granted rate", retry_after_s=1 - now % 1)
        self._taken += 1


# --- The service ---


class TrustSource(source_pb2_grpc.TrustSourceServiceServicer):
    def __init__(self, settings):
        self.settings = settings
        self.records = Records(settings["records"])
        self.signer = Signer(settings["assertionKey"]["keyId"], settings["assertionKey"]["file"])
        self.answers = Answers(settings["database"])
        self.rate = Rate(settings["ratePerSecond"])
        # One check at a time: a duplicate waits for the first, and so does GetOutcome. Work that takes long needs a
        # lock for each biz_seq instead, and several replicas need it in the database.
        self.lock = threading.Lock()

    def Describe(self, request, context):
        return self._serve(context, self._describe)

    def Check(self, request, context):
        return self._serve(context, lambda: pb.CheckResponse(assertion=self.check(request)))

    def GetOutcome(self, request, context):
        return self._serve(context, lambda: pb.GetOutcomeResponse(assertion=self.outcome(request.biz_seq)))

    def _describe(self):
        settings = self.settings
        response = pb.DescribeResponse(
            source_id=settings["sourceId"],
            claim_types=list(ELEMENTS),
            level=settings["level"],
            rate_limit_per_second=settings["ratePerSecond"],
        )
        response.usual_latency.FromMilliseconds(settings["usualLatencyMs"])
        for window in sorted(settings["maintenance"], key=lambda one: one["startTime"]):
            if to_seconds(window["endTime"]) > time.time():
                announced = response.maintenance.add()
                announced.start_time.FromJsonString(window["startTime"])
                announced.end_time.FromJsonString(window["endTime"])
        return response

    def check(self, request):
        self.require_form(request)
        self._require_service()
        with self.lock:
            known = self.answers.find(request.biz_seq)
            if known is not None:
                return self.repeat(known, request)
            self.rate.take()
            verdict = self.records.look_up(request.claim_type, request.elements)
            signed = self.signer.sign(self.make_assertion(request, verdict))
            self.answers.keep(request.biz_seq, signed)
            return signed

    def require_form(self, request):
        require_check(request)

    def repeat(self, known, request):
        """The first assertion again, if it is about these elements: its own nonce tells."""
        assertion = pb.Assertion.FromString(known.assertion)
        digest = digest_elements(assertion.nonce, request.claim_type, request.elements)
        if assertion.claim_type != request.claim_type or assertion.elements_digest != digest:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "biz_seq was used with other elements")
        return known

    def make_assertion(self, request, verdict):
        assertion = pb.Assertion(
            source_id=self.settings["sourceId"],
            biz_seq=request.biz_seq,
            audience=request.audience,
            nonce=request.nonce,
            claim_type=request.claim_type,
            elements_digest=digest_elements(request.nonce, request.claim_type, request.elements),
            verdict=verdict,
            level=self.settings["level"],
        )
        assertion.check_time.GetCurrentTime()
        return assertion

    def outcome(self, biz_seq):
        require_biz_seq(biz_seq)
        with self.lock:
            known = self.answers.find(biz_seq)
        if known is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "no such check")
        return known

    def _require_service(self):
        for window in self.settings["maintenance"]:
            start, end = to_seconds(window["startTime"]), to_seconds(window["endTime"])
            if start <= time.time() < end:
                raise Refusal(grpc.StatusCode.UNAVAILABLE, "maintenance", retry_after_s=end - time.time())

    def _serve(self, context, handle):
        """The steps around every method: who calls, the work, refusals."""
        try:
            if not is_platform(context):
                raise Refusal(grpc.StatusCode.PERMISSION_DENIED, "not the platform's certificate")
            return handle()
        except Refusal as refusal:
            status = status_pb2.Status(code=refusal.code.value[0], message=refusal.message)
            for detail in refusal.details():
                packed = any_pb2.Any()
                packed.Pack(detail)
                status.details.append(packed)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(refusal.code, refusal.message)
        except Exception as fault:
            # Only its kind is told, to the log and to nobody else: the text of an exception may hold an element.
            print(f"fault: {type(fault).__name__}", file=sys.stderr, flush=True)
            context.abort(grpc.StatusCode.UNAVAILABLE, "fault")


def is_platform(context):
    """The chain is checked by TLS; here whom the certificate names: one URI, the platform's."""
    (pem,) = context.auth_context().get("x509_pem_cert", (b"",))
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return names.get_values_for_type(x509.UniformResourceIdentifier) == [PLATFORM_URI]


def read_credentials(tls):
    """Mutual TLS, 1.2 or newer: gRPC's own floor. A caller without a certificate of the authority gets no connection."""

    def read(file):
        with open(file, "rb") as stream:
            return stream.read()

    return grpc.ssl_server_credentials(
        [(read(tls["keyFile"]), read(tls["certFile"]))],
        root_certificates=read(tls["caFile"]),
        require_client_auth=True,
    )


def to_seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def serve(source, settings):
    """Serves until SIGTERM. Prints the port once it listens."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=OPTIONS)
    source_pb2_grpc.add_TrustSourceServiceServicer_to_server(source, server)
    port = server.add_secure_port(settings["listen"], read_credentials(settings["tls"]))
    server.start()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    print(f"listening on port {port}", flush=True)
    stopping.wait()
    server.stop(grace=5).wait()
    source.answers.close()


def read_settings():
    parser = argparse.ArgumentParser(description="A trust source of fujie.source.v1.")
    parser.add_argument("--settings", required=True, help="JSON, see README.md")
    with open(parser.parse_args().settings, encoding="utf-8") as stream:
        return json.load(stream)


if __name__ == "__main__":
    SETTINGS = read_settings()
    serve(TrustSource(SETTINGS), SETTINGS)
