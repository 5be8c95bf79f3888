"""Vonage: signed receipts and status callbacks in, events out."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ConnectionConfig, Event, Kind, Request, Unparsed, VerificationError
from providers.callback import FORM, query_as_body
from providers.sandbox import vonage as sandbox
from providers.vonage import PROVIDER, signed_text
from tests.providers.webhook_cases import WebhookCases, assert_readable, property_settings

PAYLOADS = Path(__file__).parents[1] / "payloads" / "vonage"
EXPECTED = json.loads((PAYLOADS / "expected.json").read_text())
RECEIVED_AT = datetime(2026, 1, 2, 12, 4, 5, tzinfo=UTC)
NOW = int(RECEIVED_AT.timestamp())
URL = "https://notify.example.com/webhooks/vonage/tok3n"
SECRET = "test-sig-secret-of-more-than-32-bytes"
JSON = "application/json"
RECEIPT = {
    "msisdn": "819012345678",
    "to": "NOTIFY",
    "network-code": "44010",
    "messageId": "0A0000000123ABCD1",
    "price": "0.03330000",
    "status": "failed",
    "scts": "2601021204",
    "err-code": "6",
    "api-key": "abcd1234",
    "client-ref": "ng-123",
    "message-timestamp": "2026-01-02 12:04:00",
}
STATUS = {
    "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
    "to": "819012345678",
    "from": "NOTIFY",
    "timestamp": "2026-01-02T03:04:05Z",
    "status": "rejected",
    "client_ref": "ng-123",
    "channel": "sms",
    "error": {
        "type": "https://developer.vonage.com/api-errors/messages#1170",
        "title": "1170",
        "detail": "Invalid or Missing Msisdn Param",
    },
}


def config_of(method="sha256", *secrets, **settings):
    return ConnectionConfig(secrets=secrets or (SECRET,), settings={"signature_method": method, **settings})


def request_of(body, headers=None, method="POST", url=URL, received_at=RECEIVED_AT):
    return Request(
        method=method, url=url, headers=headers or {"content-type": JSON}, body=body, received_at=received_at
    )


def signed(method="sha256", secret=SECRET, at=NOW, **changes):
    params = sandbox.sign_params({**RECEIPT, **changes}, secret, method, at)
    return request_of(json.dumps(params).encode())


def refusal(request, config=None):
    with pytest.raises(VerificationError) as caught:
        PROVIDER.verify(request, config or config_of())
    return caught.value.reason


def parse(item, config=None, received_at=RECEIVED_AT):
    return PROVIDER.parse(json.dumps(item).encode(), {"content-type": JSON}, config or config_of(), received_at)


class TestReceipt(WebhookCases):
    provider = PROVIDER
    body = (PAYLOADS / "failed_3_absent_permanent.json").read_bytes()
    method = "sha256"

    def config(self):
        return config_of(self.method)

    def other_config(self):
        return config_of(self.method, "another-secret")

    def sign(self, body, at):
        params = sandbox.sign_params(json.loads(body), SECRET, self.method, int(at.timestamp()))
        return request_of(json.dumps(params).encode(), received_at=self.received_at)

    def with_signature(self, request, value):
        params = {name: text for name, text in json.loads(request.body).items() if name != "sig"}
        return dataclasses.replace(
            request, body=json.dumps(params if value is None else {**params, "sig": value}).encode()
        )

    def tampered(self, request):
        params = json.loads(request.body)
        changed = [{**params, name: value + "0"} for name, value in params.items()]
        added = {**params, "new": ""}
        return [dataclasses.replace(request, body=json.dumps(each).encode()) for each in [*changed, added]]


class TestReceiptMd5Hash(TestReceipt):
    method = "md5hash"


class TestMessageStatus(WebhookCases):
    provider = PROVIDER
    body = (PAYLOADS / "messages_rejected_1170_invalid_number.json").read_bytes()
    signature_header = "authorization"

    def config(self):
        return config_of()

    def other_config(self):
        return config_of("sha256", "another-secret-of-more-than-32-bytes!")

    def sign(self, body, at):
        headers = sandbox.sign_body(body, SECRET, "abcd1234", int(at.timestamp()))
        lowered = {name.lower(): value for name, value in headers.items()}
        return request_of(body, lowered, received_at=self.received_at)

    def with_signature(self, request, value):
        return super().with_signature(request, value and f"Bearer {value}")


VECTOR = {
    "err-code": "6",
    "messageId": "0A0000000123ABCD1",
    "msisdn": "819012345678",
    "status": "failed",
    "timestamp": "1767323045",
    "to": "NOTIFY",
}


def test_the_signed_text_is_that_of_the_documentation():
    assert signed_text({**VECTOR, "sig": "x"}) == (
        "&err-code=6&messageId=0A0000000123ABCD1&msisdn=819012345678&status=failed&timestamp=1767323045&to=NOTIFY"
    )


@pytest.mark.parametrize(
    ("method", "sig"),
    [
        ("md5hash", "0fe01eaed34ed3a3e274a5af66b019ae"),
        ("md5", "7e50e894b05613d05c0543979c3e6559"),
        ("sha1", "644d10c8eb9c8b871db34aaaf814a00b4e8d7c25"),
        ("sha256", "333b828246fdb6b64faad17dbf2bb403d90e67c9f2930709b46fdd0950ec7735"),
    ],
)
def test_known_signatures_pass_in_either_case(method, sig):
    received_at = datetime.fromtimestamp(1767323045, UTC)
    for spelling in (sig, sig.upper()):
        body = json.dumps({**VECTOR, "sig": spelling}).encode()
        PROVIDER.verify(request_of(body, received_at=received_at), config_of(method, "test-sig-secret"))


@pytest.mark.parametrize(
    ("method", "params", "sig"),
    [
        (
            "sha256",
            {"param1": "value1", "param2": "value2"},
            "280c4320703dbc98bfa22db676655ed2acfbfe8792b062ff7622e67f1183c287",
        ),
        ("md5", {"param1": "value1", "param2": "value2"}, "724c2bf6ca423c36e20631b11d1c5753"),
        ("md5", {"param1": "value&1", "param2": "value=2"}, "2bbf0abafb2c55e5af6231513896a2ac"),
    ],
)
def test_the_signatures_of_the_vendors_own_library_pass(method, params, sig):
    # https://github.com/Vonage/vonage-python-sdk http_client/tests/test_auth.py
    body = json.dumps({**params, "timestamp": 1234567890, "sig": sig}).encode()
    request = request_of(body, received_at=datetime.fromtimestamp(1234567890, UTC))
    PROVIDER.verify(request, config_of(method, "signature_secret"))


@pytest.mark.parametrize("method", ["md5hash", "md5", "sha1", "sha256", "sha512"])
def test_every_method_of_the_dashboard_is_checked(method):
    PROVIDER.verify(signed(method), config_of(method))
    assert refusal(signed("sha1" if method != "sha1" else "sha256"), config_of(method)) == "signature_wrong"


@pytest.mark.parametrize(
    ("spelling", "method"),
    [
        ("", "sha256"),
        ("sha256hash", "sha256"),
        ("SHA-256 HMAC signature", "sha256"),
        ("SHA-512 HMAC", "sha512"),
        ("MD5 hash", "md5hash"),
        ("MD5 HMAC", "md5"),
        ("MD5 HASH signature", "md5hash"),
    ],
)
def test_methods_are_understood_as_the_dashboard_spells_them(spelling, method):
    PROVIDER.verify(signed(method), config_of(spelling))


def test_an_unknown_method_is_refused():
    assert refusal(signed(), config_of("rot13")) == "algorithm_unknown"


def test_query_form_and_json_carry_the_same_receipt():
    params = sandbox.sign_params(RECEIPT, SECRET, "sha256", NOW)
    query = urlencode(params)
    calls = [
        request_of(b"status=forged", {}, "GET", f"{URL}?{query}"),
        request_of(query.encode(), {"content-type": FORM}),
        request_of(json.dumps(params).encode(), {"content-type": JSON}),
    ]
    for call in calls:
        PROVIDER.verify(call, config_of())
        kept = query_as_body(call)
        assert PROVIDER.parse(kept.body, kept.headers, config_of(), RECEIVED_AT) == parse(RECEIPT)


def test_an_array_can_not_ride_on_the_signature_of_its_first_receipt():
    params = json.loads(signed().body)
    assert refusal(request_of(json.dumps([params, {**RECEIPT, "status": "delivered"}]).encode())) == "signature_missing"


def test_both_secrets_are_valid_during_a_rotation():
    for secret in ("new", "old"):
        PROVIDER.verify(signed(secret=secret), config_of("sha256", "new", "old"))


def test_a_receipt_without_a_signed_time_is_refused():
    covered = signed_text(RECEIPT)
    sig = hashlib.md5((covered + SECRET).encode(), usedforsecurity=False).hexdigest()
    assert refusal(request_of(json.dumps({**RECEIPT, "sig": sig}).encode()), config_of("md5hash")) == "timestamp_stale"


def test_callbacks_of_another_api_key_are_refused_when_one_is_set():
    body = json.dumps(STATUS).encode()
    headers = {name.lower(): value for name, value in sandbox.sign_body(body, SECRET, "abcd1234", NOW).items()}
    for request in (signed(), request_of(body, headers)):
        PROVIDER.verify(request, config_of("sha256", api_key="abcd1234"))
        assert refusal(request, config_of("sha256", api_key="other")) == "account_wrong"


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_a_token_of_another_algorithm_is_refused(algorithm):
    body = json.dumps(STATUS).encode()
    claims = {"iat": NOW, "payload_hash": hashlib.sha256(body).hexdigest()}
    token = jwt.encode(claims, None if algorithm == "none" else SECRET * 2, algorithm=algorithm)
    assert (
        refusal(request_of(body, {"authorization": f"Bearer {token}"}), config_of("sha256", SECRET * 2))
        == "signature_wrong"
    )


def token_of(claims, secret):
    """Sign any bytes as claims, with a secret as short as Vonage allows."""
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', claims))
    mac = hmac.digest(secret.encode(), signed, "sha256")
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def test_a_token_under_a_short_secret_passes():
    body = json.dumps(STATUS).encode()
    claims = json.dumps({"iat": NOW, "payload_hash": hashlib.sha256(body).hexdigest()}).encode()
    request = request_of(body, {"authorization": f"bearer {token_of(claims, 'four')}"})
    assert PROVIDER.verify(request, config_of("sha256", "four")) is None


@pytest.mark.parametrize("claims", [b"", b"[]", b"{", b"\xff"])
def test_a_signed_token_without_claims_is_refused(claims):
    request = request_of(b"{}", {"authorization": f"Bearer {token_of(claims, SECRET)}"})
    assert refusal(request) == "signature_wrong"


def test_a_genuine_token_on_a_get_does_not_cover_its_query():
    body = json.dumps(STATUS).encode()
    headers = {name.lower(): value for name, value in sandbox.sign_body(body, SECRET, "abcd1234", NOW).items()}
    request = request_of(body, headers, "GET", f"{URL}?{urlencode(RECEIPT)}")
    assert refusal(request) == "signature_wrong"


def test_a_receipt_becomes_one_event_with_all_it_says():
    assert parse(RECEIPT) == [
        Event(
            kind=Kind.REJECTED,
            recipient="+819012345678",
            occurred_at=datetime(2026, 1, 2, 12, 4, tzinfo=UTC),
            verdict="failed/6",
            provider_event_id="~0A0000000123ABCD1/failed/6/2601021204",
            provider_message_id="0A0000000123ABCD1",
            attempt_ref="123",
            sender="NOTIFY",
        )
    ]


def test_a_message_status_becomes_one_event_with_all_it_says():
    assert parse(STATUS) == [
        Event(
            kind=Kind.FAILED,
            recipient="+819012345678",
            occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            verdict="rejected/1170",
            reply="Invalid or Missing Msisdn Param",
            provider_event_id="~aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab/rejected/1170",
            provider_message_id="aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
            attempt_ref="123",
            sender="NOTIFY",
        )
    ]


@pytest.mark.parametrize(
    ("error", "verdict", "reply"),
    [
        ({"title": "Absent", "type": "https://developer.vonage.com/api-errors/messages#1190"}, "rejected/1190", ""),
        (
            {"code": 1300, "reason": "Not part of the provider network"},
            "rejected/1300",
            "Not part of the provider network",
        ),
        ({}, "rejected/", ""),
        ("text", "rejected/", ""),
        (None, "rejected/", ""),
    ],
)
def test_the_error_number_is_found_in_every_known_shape(error, verdict, reply):
    (event,) = parse({**STATUS, "error": error})
    assert (event.verdict, event.reply) == (verdict, reply)


def test_the_older_shape_of_the_parties_is_read():
    (event,) = parse(
        {**STATUS, "to": {"type": "sms", "number": "819012345678"}, "from": {"type": "sms", "id": "NOTIFY"}}
    )
    assert (event.recipient, event.sender) == ("+819012345678", "NOTIFY")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-02 12:04:00", datetime(2026, 1, 2, 12, 4, tzinfo=UTC)),
        ("2026-01-02 12:04:00 +0000", datetime(2026, 1, 2, 12, 4, tzinfo=UTC)),
        ("2026-01-02T12:04:00.000+00:00", datetime(2026, 1, 2, 12, 4, tzinfo=UTC)),
        ("", RECEIVED_AT),
    ],
)
def test_each_documented_time_format_is_read(written, read):
    (event,) = parse({**RECEIPT, "message-timestamp": written})
    assert event.occurred_at == read


def test_a_repeated_push_keeps_its_identity_though_its_time_changes():
    (first,), (second,) = parse(RECEIPT), parse({**RECEIPT, "message-timestamp": "2026-01-02 12:09:00"})
    assert first.provider_event_id == second.provider_event_id
    assert first.occurred_at < second.occurred_at


@pytest.mark.parametrize(("reference", "attempt"), [("ng-9", "9"), ("order-7", ""), ("", "")])
def test_only_our_own_reference_names_an_attempt(reference, attempt):
    (event,) = parse({**RECEIPT, "client-ref": reference})
    assert event.attempt_ref == attempt


@pytest.mark.parametrize(("route_by", "route"), [("api_key", "abcd1234"), ("sender", "NOTIFY"), ("", "")])
def test_shared_connections_are_routed_by_api_key_or_sender(route_by, route):
    (event,) = parse(RECEIPT, ConnectionConfig(secrets=(SECRET,), route_by=route_by))
    assert event.route == route


RECEIPT_TABLE = [
    ("failed rejected", "2 3 4 14 5 7 8 11 12 15 1 99", Kind.UNDELIVERED),
    ("failed rejected", "6 10 50 51 52 54 9 53 13", Kind.REJECTED),
    ("rejected", "0 77", Kind.REJECTED),
    ("failed", "0 77", Kind.UNDELIVERED),
    ("expired", "0 2", Kind.EXPIRED),
    ("delivered", "0", Kind.DELIVERED),
    ("accepted", "0", Kind.ACCEPTED),
    ("buffered", "0", Kind.DEFERRED),
    ("unknown", "0 1", Kind.NO_RECEIPT),
    ("novelty", "6", Kind.UNKNOWN),
]
MESSAGES_TABLE = [
    (
        "rejected undeliverable",
        "1000 1030 1100 1331 1060 1080 1160 1070 1120 1010 1022 1090 1130 1150 1040 1170",
        Kind.FAILED,
    ),
    ("rejected undeliverable", "1050 1210 1240 1270", Kind.REJECTED),
    ("rejected undeliverable", "1180 1190 1280 1200 1220 1230 1250 1260 1290 1300 1310 1330", Kind.UNDELIVERED),
    ("rejected", "1360", Kind.EXPIRED),
    ("rejected", "9999", Kind.REJECTED),
    ("undeliverable", "9999", Kind.FAILED),
    ("submitted", "1220", Kind.ACCEPTED),
    ("delivered", "", Kind.DELIVERED),
    ("read", "", Kind.ENGAGED),
]


def cases(table):
    return [
        (word, code, kind) for words, codes, kind in table for word in words.split() for code in codes.split() or [""]
    ]


@pytest.mark.parametrize(("word", "code", "kind"), cases(RECEIPT_TABLE))
def test_word_and_code_of_a_receipt_say_what_became_of_it(word, code, kind):
    (event,) = parse({**RECEIPT, "status": word, "err-code": code})
    assert (event.kind, event.verdict) == (kind, f"{word}/{code}")


@pytest.mark.parametrize(("word", "code", "kind"), cases(MESSAGES_TABLE))
def test_word_and_code_of_a_message_status_say_what_became_of_it(word, code, kind):
    (event,) = parse({**STATUS, "status": word, "error": {"title": code}})
    assert (event.kind, event.verdict) == (kind, f"{word}/{code}")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"msisdn": "1", "text": "STOP"}, "Item 1 has no status, so it is not a delivery receipt."),
        ({"status": "failed", "msisdn": "1"}, "Item 1 names no message (messageId) or no recipient (msisdn)."),
        ({"message_uuid": "u", "text": "STOP"}, "Item 1 has no status, so it is not a message status."),
        ({"message_uuid": "u", "status": "read"}, "Item 1 names no message (message_uuid) or no recipient (to)."),
        ({**RECEIPT, "message-timestamp": "soon"}, 'Item 1 has a "message-timestamp" that is not a date and time.'),
        (
            {**RECEIPT, "message-timestamp": "2009-12-31 23:59:59"},
            "Item 1 has a time before 2010 or more than 48 hours after its arrival.",
        ),
        (
            {**RECEIPT, "message-timestamp": "2026-01-04 12:04:06"},
            "Item 1 has a time before 2010 or more than 48 hours after its arrival.",
        ),
        ("text", "Item 1 is not an object."),
    ],
)
def test_what_is_no_receipt_is_unparsed_and_says_why(item, reason):
    assert parse(item) == [Unparsed(reason=reason, raw=json.dumps(item))]


def test_only_a_connection_that_never_saw_a_delivery_misses_one():
    assert PROVIDER.missing_event_kinds(frozenset({Kind.ACCEPTED})) == (Kind.DELIVERED,)
    assert PROVIDER.missing_event_kinds(frozenset({Kind.DELIVERED})) == ()
    assert PROVIDER.missing_event_kinds(frozenset()) == ()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_captured_payloads_become_the_expected_events(name):
    content_type = JSON if name.endswith(".json") else FORM
    parsed = PROVIDER.parse((PAYLOADS / name).read_bytes(), {"content-type": content_type}, config_of(), RECEIVED_AT)
    assert [item.kind.value for item in parsed] == [EXPECTED[name]["state"]] * EXPECTED[name]["events"]


@property_settings
@given(
    params=st.dictionaries(st.sampled_from([*RECEIPT, *STATUS]), st.text(max_size=12), max_size=8),
    content_type=st.sampled_from([JSON, FORM]),
)
def test_parse_never_raises_whatever_the_form(params, content_type):
    body = urlencode(params, errors="replace").encode()
    assert_readable(PROVIDER.parse(body, {"content-type": content_type}, config_of(), RECEIVED_AT))
