"""Twilio: signed status callbacks in, events out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ConnectionConfig, Event, Kind, Request, Unparsed, VerificationError
from providers.callback import FORM, query_as_body
from providers.sandbox import twilio as sandbox
from providers.twilio import PROVIDER, SIGNATURE_HEADER
from tests.providers.webhook_cases import WebhookCases, assert_readable, property_settings

PAYLOADS = Path(__file__).parents[1] / "payloads" / "twilio"
EXPECTED = json.loads((PAYLOADS / "expected.json").read_text())
RECEIVED_AT = datetime(2026, 1, 2, 12, 4, tzinfo=UTC)
URL = "https://notify.example.com/webhooks/twilio/tok3n"
SECRET = "12345"
CONFIG = ConnectionConfig(secrets=(SECRET,))
PARAMS = {
    "MessageSid": "SM1234567890abcdef1234567890abcdef",
    "MessageStatus": "undelivered",
    "To": "+819012345678",
    "From": "+15017122661",
    "AccountSid": "AC00000000000000000000000000000001",
    "ErrorCode": "30003",
    "RawDlrDoneDate": "2601021204",
}


def request_of(body, headers, url=URL, method="POST"):
    lowered = {name.lower(): value for name, value in headers.items()}
    return Request(method=method, url=url, headers=lowered, body=body, received_at=RECEIVED_AT)


def signed(params=PARAMS, secret=SECRET, url=URL, shared_key_id=""):
    return request_of(urlencode(params).encode(), sandbox.sign_form(url, params, secret, shared_key_id), url)


def parse(params, config=CONFIG, received_at=RECEIVED_AT):
    return PROVIDER.parse(urlencode(params).encode(), {"content-type": FORM}, config, received_at)


def refusal(request, config=CONFIG):
    with pytest.raises(VerificationError) as caught:
        PROVIDER.verify(request, config)
    return caught.value.reason


class TestForm(WebhookCases):
    provider = PROVIDER
    body = (PAYLOADS / "undelivered_30005_unknown_handset.form").read_bytes()
    signature_header = SIGNATURE_HEADER
    oldest = None

    def config(self):
        return CONFIG

    def other_config(self):
        return ConnectionConfig(secrets=("another-token",))

    def sign(self, body, at):
        params = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return request_of(body, sandbox.sign_form(self.url, params, SECRET), self.url)


class TestSharedKeyForm(TestForm):
    def sign(self, body, at):
        params = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return request_of(body, sandbox.sign_form(self.url, params, SECRET, "webhooks_sharedkey_1"), self.url)


class TestJson(TestForm):
    body = (PAYLOADS / "undelivered_30003.json").read_bytes()

    def sign(self, body, at):
        url, headers = sandbox.sign_json(self.url, body, SECRET)
        return request_of(body, headers, url)


VECTOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VECTOR_PARAMS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
SHARED_KEY = {"X-Twilio-Webhooks-Signature-Settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}


@pytest.mark.parametrize(
    ("signature", "more"),
    [("RSOYDt4T1cUTdK1PDd93/VVr8B8=", {}), ("033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=", SHARED_KEY)],
)
def test_published_form_vectors_pass(signature, more):
    headers = {"Content-Type": FORM, "X-Twilio-Signature": signature, **more}
    PROVIDER.verify(request_of(urlencode(VECTOR_PARAMS).encode(), headers, VECTOR_URL), CONFIG)


def test_published_json_vector_passes_and_a_changed_body_fails():
    digest = "fbea32f804b8b346badf21572a49b86882f2b39203c4e4d431893afdd334f89c"
    url = f"https://mycompany.com/hooks/sms?bodySHA256={digest}"
    headers = {"Content-Type": "application/json", "X-Twilio-Signature": "phR0i0w5sbx6Oq+ojhrJJ3HGtss="}
    body = b'{"MessageSid":"SM1","MessageStatus":"failed"}'
    PROVIDER.verify(request_of(body, headers, url), CONFIG)
    assert refusal(request_of(body.replace(b"failed", b"sent"), headers, url)) == "signature_wrong"


def test_repeated_parameters_are_signed_with_their_distinct_values():
    body = b"MediaUrl=b&MediaUrl=a&MediaUrl=b&MessageSid=SM1"
    headers = sandbox.sign_url(URL + "MediaUrlaMediaUrlbMessageSidSM1", SECRET)
    PROVIDER.verify(request_of(body, {**headers, "Content-Type": FORM}), CONFIG)


def test_both_secrets_are_valid_during_a_rotation():
    rotating = ConnectionConfig(secrets=("new", "old"))
    for secret in ("new", "old"):
        PROVIDER.verify(signed(secret=secret), rotating)
    assert refusal(signed(secret="older"), rotating) == "signature_wrong"


def test_a_get_is_checked_by_its_url_and_read_from_its_query():
    url = f"{URL}?{urlencode(PARAMS)}"
    request = request_of(b"MessageSid=forged", sandbox.sign_url(url, SECRET), url, "GET")
    PROVIDER.verify(request, CONFIG)
    carrying = query_as_body(request)
    assert PROVIDER.parse(carrying.body, carrying.headers, CONFIG, RECEIVED_AT) == parse(PARAMS)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (request_of(b"MessageSid=SM1", {"Content-Type": FORM}), "signature_missing"),
        (
            request_of(b'{"MessageSid":"SM1"}', {"Content-Type": "application/json", "X-Twilio-Signature": "x"}),
            "signature_missing",
        ),
        (
            request_of(b"\xff", {"Content-Type": "application/json", "X-Twilio-Signature": "x"}, URL + "?bodySHA256=0"),
            "signature_wrong",
        ),
        (request_of(b"", {"X-Twilio-Signature": "é", "Content-Type": FORM}), "signature_wrong"),
        (
            request_of(b"a=b", {"X-Twilio-Signature": "x", "X-Twilio-Webhooks-Signature-Settings": "algorithm=NONE"}),
            "algorithm_unknown",
        ),
        (signed(url=URL + "?other"), None),
    ],
)
def test_unsigned_or_oddly_signed_requests_are_refused(request_, reason):
    if reason is None:
        PROVIDER.verify(request_, CONFIG)
    else:
        assert refusal(request_) == reason


def test_a_json_body_can_not_ride_on_the_signature_of_a_bare_url():
    headers = {**sandbox.sign_url(URL, SECRET), "Content-Type": "application/json"}
    assert refusal(request_of(b'{"MessageSid":"SM1"}', headers)) == "signature_missing"


def test_callbacks_of_another_account_are_refused_when_one_is_set():
    own = ConnectionConfig(secrets=(SECRET,), settings={"account_sid": PARAMS["AccountSid"]})
    other = ConnectionConfig(secrets=(SECRET,), settings={"account_sid": "AC2"})
    PROVIDER.verify(signed(), own)
    assert refusal(signed(), other) == "account_wrong"
    assert refusal(signed({"MessageSid": "SM1"}), own) == "account_wrong"


def test_an_undelivered_callback_becomes_one_event_with_all_it_says():
    assert parse(PARAMS) == [
        Event(
            kind=Kind.UNDELIVERED,
            recipient="+819012345678",
            occurred_at=RECEIVED_AT,
            verdict="undelivered/30003",
            provider_event_id="~SM1234567890abcdef1234567890abcdef/undelivered/30003",
            provider_message_id="SM1234567890abcdef1234567890abcdef",
            sender="+15017122661",
        )
    ]


def test_the_identity_does_not_depend_on_the_time_of_arrival():
    later = datetime(2026, 1, 3, tzinfo=UTC)
    (first,), (second,) = parse(PARAMS), parse(PARAMS, received_at=later)
    assert (first.provider_event_id, second.occurred_at) == (second.provider_event_id, later)


@pytest.mark.parametrize(
    ("route_by", "route"), [("account", PARAMS["AccountSid"]), ("sender", PARAMS["From"]), ("", "")]
)
def test_shared_connections_are_routed_by_account_or_sender(route_by, route):
    (event,) = parse(PARAMS, ConnectionConfig(secrets=(SECRET,), route_by=route_by))
    assert event.route == route


CODE_TABLE = [
    (Kind.FAILED, "30001 30002 30037 30010 30019 30011 30020 30021 30410 30012 30016 30028 30031 30454"),
    (Kind.FAILED, "21211 21217 21401 21604 21614 21635 21214 21408 21612 21703 21212 21606 21701 21715 21602 21605"),
    (Kind.FAILED, "21609 21624 20003 20005 20404 21608 20429 21611 14107 63017 63018 63038 20500 20503 21730"),
    (Kind.REJECTED, "21610 30007 30038 30039 30018 30024 30032 30033 30034 30035 30040 30041 30043 30440 30449"),
    (Kind.REJECTED, "30022 30023 30027 30450"),
    (Kind.EXPIRED, "30036"),
    (Kind.UNDELIVERED, "30003 30004 30005 30006 30017 30008 30485 30500 99999"),
]


@pytest.mark.parametrize("word", ["failed", "undelivered"])
@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in CODE_TABLE for code in codes.split()])
def test_the_error_code_says_what_became_of_a_failed_message(word, kind, code):
    (event,) = parse({**PARAMS, "MessageStatus": word, "ErrorCode": code})
    assert (event.kind, event.verdict) == (kind, f"{word}/{code}")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(word, Kind.ACCEPTED) for word in ("queued", "accepted", "scheduled", "sending", "sent")],
        ("delivered", Kind.DELIVERED),
        ("Delivered", Kind.DELIVERED),
        ("read", Kind.ENGAGED),
        ("canceled", Kind.CANCELED),
        ("partially_delivered", Kind.UNKNOWN),
        ("undelivered", Kind.UNDELIVERED),
        ("failed", Kind.UNDELIVERED),
    ],
)
def test_each_status_word_has_its_kind(status, kind):
    params = {name: value for name, value in PARAMS.items() if name != "ErrorCode"}
    (event,) = parse({**params, "MessageStatus": status})
    assert (event.kind, event.verdict) == (kind, f"{status.lower()}/")


def test_the_attempt_is_read_from_the_query_of_the_callback_url():
    headers = {"content-type": FORM, "x-notifyguard-query": "ng_attempt=0123abcd"}
    (event,) = PROVIDER.parse(urlencode(PARAMS).encode(), headers, CONFIG, RECEIVED_AT)
    assert event.attempt_ref == "0123abcd"


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"MessageStatus": "sent"}, "Item 1 names no message (MessageSid) or no status (MessageStatus)."),
        ({"MessageSid": "SM1", "MessageStatus": "sent"}, "Item 1 names no recipient (To)."),
        (
            {"SmsSid": "SM1", "SmsStatus": "received", "Body": "STOP"},
            "Item 1 is an incoming message, not the status of a sent one.",
        ),
    ],
)
def test_what_is_no_status_callback_is_unparsed_and_says_why(params, reason):
    assert parse(params) == [Unparsed(reason=reason, raw=json.dumps(params))]


def test_an_unreadable_body_is_one_unparsed():
    assert PROVIDER.parse(b"", {"content-type": FORM}, CONFIG, RECEIVED_AT) == [
        Unparsed(reason="The body is neither JSON nor a form with fields.", raw="")
    ]


def test_only_a_connection_that_never_saw_a_delivery_misses_one():
    assert PROVIDER.missing_event_kinds(frozenset({Kind.ACCEPTED})) == (Kind.DELIVERED,)
    assert PROVIDER.missing_event_kinds(frozenset({Kind.DELIVERED})) == ()
    assert PROVIDER.missing_event_kinds(frozenset()) == ()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_captured_payloads_become_the_expected_events(name):
    content_type = "application/json" if name.endswith(".json") else FORM
    parsed = PROVIDER.parse((PAYLOADS / name).read_bytes(), {"content-type": content_type}, CONFIG, RECEIVED_AT)
    assert [item.kind.value for item in parsed] == [EXPECTED[name]["state"]] * EXPECTED[name]["events"]


WORDS = st.sampled_from(["", "sent", "failed", "30007", "SM1", "+447700900001", "\0", "é"]) | st.text(max_size=5)
NAMES = st.sampled_from(["MessageSid", "MessageStatus", "To", "ErrorCode", "From"]) | st.text(max_size=5)


@property_settings
@given(params=st.dictionaries(NAMES, WORDS, max_size=6))
def test_parse_never_raises_whatever_the_form(params):
    assert_readable(
        PROVIDER.parse(urlencode(params, errors="replace").encode(), {"content-type": FORM}, CONFIG, RECEIVED_AT)
    )


@property_settings
@given(
    body=st.binary(max_size=60),
    content_type=st.sampled_from(["application/json", FORM, ""]),
    signature=st.text(min_size=1, max_size=30),
)
def test_garbage_is_refused_and_never_an_error_of_ours(body, content_type, signature):
    request = request_of(body, {"content-type": content_type, SIGNATURE_HEADER: signature}, URL + "?bodySHA256=00")
    assert refusal(request) == "signature_wrong"
