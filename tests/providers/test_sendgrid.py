"""SendGrid: genuine payloads in, events out."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ConnectionConfig, ConnectionEvent, Event, Kind, Request, Unparsed, VerificationError
from providers.sandbox import sendgrid as sandbox
from providers.sendgrid import OLDEST, PROVIDER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from tests.providers.webhook_cases import WebhookCases, property_settings

PAYLOADS = Path(__file__).parents[1] / "payloads" / "sendgrid"
EXPECTED = json.loads((PAYLOADS / "expected.json").read_text())
RECEIVED_AT = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)

KEYS = sandbox.make_keys()
OTHER_KEYS = sandbox.make_keys()

# Public test data of SendGrid's own Python library, test/unit/test_eventwebhook.py.
KNOWN_KEY = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
KNOWN_SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
KNOWN_TIMESTAMP = "1600112502"
KNOWN_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)


def parse(body, *, route_by="", received_at=RECEIVED_AT):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PROVIDER.parse(content, {}, ConnectionConfig(route_by=route_by), received_at)


def only(item, **options):
    (result,) = parse([item], **options)
    return result


def bounce(**changes):
    item = {"email": "taro@example.jp", "event": "bounce", "timestamp": 1793500815, "type": "bounce", **changes}
    return {name: value for name, value in item.items() if value is not None}


class TestWebhook(WebhookCases):
    provider = PROVIDER
    body = (PAYLOADS / "bounce_invalid_address.json").read_bytes() + b"\r\n"
    signature_header = SIGNATURE_HEADER
    oldest = OLDEST

    def config(self):
        return ConnectionConfig(secrets=(KEYS.public_key,))

    def other_config(self):
        return ConnectionConfig(secrets=(OTHER_KEYS.public_key,))

    def sign(self, body, at):
        return self.request(body, sandbox.sign(KEYS.private_pem, body, at))

    def test_call_without_time_stamp_is_refused(self):
        request = self.genuine()
        headers = {name: value for name, value in request.headers.items() if name != TIMESTAMP_HEADER}
        assert self.refusal(dataclasses.replace(request, headers=headers)) == "signature_missing"

    @pytest.mark.parametrize("timestamp", ["1793588401", "", "yesterday", "-1", "\u0661\u0662", "9" * 400])
    def test_changed_time_stamp_is_refused(self, timestamp):
        request = self.genuine()
        reason = self.refusal(dataclasses.replace(request, headers={**request.headers, TIMESTAMP_HEADER: timestamp}))
        assert reason == ("signature_wrong" if timestamp else "signature_missing")

    def test_signed_time_stamp_that_is_no_time_is_refused(self):
        class NoTime(datetime):
            def timestamp(self):
                return 99_999_999_999

        assert self.refusal(self.sign(self.body, NoTime(2026, 11, 2, tzinfo=UTC))) == "timestamp_stale"


def known_request(**changes):
    given_values = {"body": KNOWN_BODY, "signature": KNOWN_SIGNATURE, "timestamp": KNOWN_TIMESTAMP, **changes}
    headers = {SIGNATURE_HEADER: given_values["signature"], TIMESTAMP_HEADER: given_values["timestamp"]}
    at = datetime.fromtimestamp(int(KNOWN_TIMESTAMP), UTC)
    return Request(
        method="POST", url="https://desk.example/", headers=headers, body=given_values["body"], received_at=at
    )


def test_known_answer_of_the_vendor_passes():
    assert PROVIDER.verify(known_request(), ConnectionConfig(secrets=(KNOWN_KEY,))) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"body": KNOWN_BODY.rstrip()},
        {"body": KNOWN_BODY.replace(b"\r\n", b"\n")},
        {"body": KNOWN_BODY.replace(b"hello", b"hallo")},
        {"timestamp": "1600112503"},
        {"signature": "MEUCIGHQVtGj"},
    ],
)
def test_known_answer_with_anything_changed_is_refused(changes):
    with pytest.raises(VerificationError) as caught:
        PROVIDER.verify(known_request(**changes), ConnectionConfig(secrets=(KNOWN_KEY,)))
    assert caught.value.reason == "signature_wrong"


def test_previous_key_stays_valid_during_a_rotation_even_beside_an_unusable_one():
    config = ConnectionConfig(secrets=(OTHER_KEYS.public_key, "not a key", KNOWN_KEY))
    assert PROVIDER.verify(known_request(), config) is None


def test_key_pasted_as_pem_works():
    pem = f"-----BEGIN PUBLIC KEY-----\n{KNOWN_KEY[:64]}\n{KNOWN_KEY[64:]}\n-----END PUBLIC KEY-----\n"
    assert PROVIDER.verify(known_request(), ConnectionConfig(secrets=(pem,))) is None


@pytest.mark.parametrize("key", ["", "not a key", "AAAA", "MFkw\u00e9", KNOWN_KEY[:-8]])
def test_unusable_key_is_told_apart_from_a_wrong_signature(key):
    with pytest.raises(VerificationError) as caught:
        PROVIDER.verify(known_request(), ConnectionConfig(secrets=(key,)))
    assert caught.value.reason == "key_unusable"


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_captured_payload(name):
    expected = EXPECTED[name]
    results = parse((PAYLOADS / name).read_bytes())
    events = [result for result in results if isinstance(result, Event)]
    assert len(events) == expected["events"]
    assert len([result for result in results if isinstance(result, Unparsed)]) == expected.get("unparsed", 0)
    assert len([r for r in results if isinstance(r, ConnectionEvent)]) == expected.get("connection_events", 0)
    if "kind" in expected:
        keys = ("kind", "verdict", "smtp_code", "enhanced_code")
        found = [{key: getattr(event, key) for key in keys} for event in events]
        assert found == [{key: expected[key] for key in keys}] * expected["events"]


def test_every_payload_is_expected():
    assert sorted(path.name for path in PAYLOADS.glob("*.json")) == sorted([*EXPECTED, "expected.json"])


def test_bounce_is_read_in_full():
    (event,) = parse((PAYLOADS / "bounce_invalid_address.json").read_bytes())
    source = json.loads((PAYLOADS / "bounce_invalid_address.json").read_text())[0]
    assert event == Event(
        kind=Kind.BOUNCED,
        recipient="taro@example.co.jp",
        occurred_at=datetime(2026, 11, 1, 2, 40, 15, tzinfo=UTC),
        verdict="bounce/invalid",
        reply="550 5.1.1 <taro@example.co.jp>: Recipient address rejected: User unknown in virtual alias table",
        smtp_code="550",
        enhanced_code="5.1.1",
        provider_event_id=source["sg_event_id"],
        provider_message_id="Qm7vT1uYc2ZrB7sWdA-p3k",
        attempt_ref="9f0c1a52-6f0e-4a55-9d0f-2f9a7c1f5f10",
        title="Invoice 2026-11",
    )


def test_deferral_is_read_in_full():
    (event,) = parse((PAYLOADS / "deferred.json").read_bytes())
    assert (event.kind, event.sender, event.deferred_until) == (Kind.DEFERRED, "notice@sender.example", None)
    assert event.reply.startswith("421 4.7.0 [TSS04] Messages from 192.0.2.10")


def test_asynchronous_bounce_without_ids_is_an_event():
    (event,) = parse((PAYLOADS / "bounce_asynchronous.json").read_bytes())
    assert (event.kind, event.provider_message_id, event.attempt_ref) == (Kind.BOUNCED, "", "")


def test_account_status_change_concerns_the_connection():
    (result,) = parse((PAYLOADS / "account_status_change.json").read_bytes())
    assert result == ConnectionEvent(
        kind="account_status",
        occurred_at=datetime(2024, 2, 13, 19, 12, 11, tzinfo=UTC),
        detail="compliance_suspend",
        data={"event_id": "MjEzNTg5OTcyOC10ZXJtaW5hdGUtMTcwNzg1MTUzMQ"},
    )


@pytest.mark.parametrize(
    ("bounce_type", "classification", "kind", "verdict"),
    [
        ("bounce", "Invalid Address", Kind.BOUNCED, "bounce/invalid"),
        ("bounce", "Technical", Kind.BOUNCED, "bounce/technical"),
        ("bounce", "Content", Kind.BOUNCED, "bounce/content"),
        ("bounce", "Reputation", Kind.BOUNCED, "bounce/reputation"),
        ("bounce", "Frequency or Volume Too High", Kind.BOUNCED, "bounce/frequency"),
        ("bounce", "Mailbox Unavailable", Kind.BOUNCED, "bounce/mailbox"),
        ("bounce", "Unclassified", Kind.BOUNCED, "bounce/unclassified"),
        ("blocked", "Invalid Address", Kind.BLOCKED, "blocked/invalid"),
        ("blocked", "Technical Failure", Kind.BLOCKED, "blocked/technical"),
        ("blocked", " content", Kind.BLOCKED, "blocked/content"),
        ("blocked", "REPUTATION", Kind.BLOCKED, "blocked/reputation"),
        ("blocked", "frequency/volume", Kind.BLOCKED, "blocked/frequency"),
        ("blocked", "mailbox_unavailable", Kind.BOUNCED, "blocked/mailbox"),
        ("blocked", "Something New", Kind.BLOCKED, "blocked/unclassified"),
        ("blocked", None, Kind.BLOCKED, "blocked/unclassified"),
        ("block", "Content", Kind.BLOCKED, "blocked/content"),
        ("expired", "Technical", Kind.EXPIRED, "expired"),
        (None, "Invalid Address", Kind.BOUNCED, "bounce/invalid"),
        ("a word of next year", "Invalid Address", Kind.BLOCKED, "blocked/invalid"),
        (7, ["Invalid Address"], Kind.BLOCKED, "blocked/unclassified"),
    ],
)
def test_bounce_type_and_classification(bounce_type, classification, kind, verdict):
    event = only(bounce(type=bounce_type, bounce_classification=classification))
    assert (event.kind, event.verdict) == (kind, verdict)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"status": "550", "reason": "User unknown"}, ("550", "")),
        ({"status": "5.1.1", "reason": "User unknown"}, ("", "5.1.1")),
        ({"status": "550", "reason": "550 5.1.1 User unknown"}, ("550", "5.1.1")),
        ({"status": 550, "reason": "User unknown"}, ("550", "")),
        ({"reason": "unable to get mx info"}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_status_of_either_form_or_none(changes, codes):
    event = only(bounce(**changes))
    assert (event.smtp_code, event.enhanced_code) == codes


@pytest.mark.parametrize(
    "changes", [{"category": "invoice"}, {"category": ["invoice", "a"]}, {"attempt": 5}, {"attempt": "5"}]
)
def test_fields_that_come_in_two_types_change_nothing(changes):
    assert only(bounce(**changes)) == only(bounce())


@pytest.mark.parametrize("timestamp", [1793500815, "1793500815", 1793500815000, "1793500815000", 1793500815.0])
def test_time_stamp_in_any_form(timestamp):
    assert only(bounce(timestamp=timestamp)).occurred_at == datetime(2026, 11, 1, 2, 40, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (None, 'Item 1 has no "timestamp".'),
        ("", 'Item 1 has no "timestamp".'),
        ("yesterday", 'Item 1 has a "timestamp" that is not a number of seconds.'),
        (True, 'Item 1 has a "timestamp" that is not a number of seconds.'),
        ([1], 'Item 1 has a "timestamp" that is not a number of seconds.'),
        ("nan", 'Item 1 has a "timestamp" that is not a number of seconds.'),
        (0, 'Item 1 has a "timestamp" before 2010 or more than 48 hours after its arrival.'),
        (10**300, 'Item 1 has a "timestamp" before 2010 or more than 48 hours after its arrival.'),
    ],
)
def test_time_stamp_that_cannot_be_is_unparsed(timestamp, reason):
    assert only(bounce(timestamp=timestamp)).reason == reason


def test_plausible_times_end_48_hours_after_the_arrival():
    edge = int((RECEIVED_AT + timedelta(hours=48)).timestamp())
    assert type(only(bounce(timestamp=edge))) is Event
    assert type(only(bounce(timestamp=edge + 1))) is Unparsed


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (7, "Item 1 is not an object."),
        ("bounce", "Item 1 is not an object."),
        (None, "Item 1 is not an object."),
        (bounce(event=None), 'Item 1 has no "event".'),
        (bounce(event=["bounce"]), 'Item 1 has no "event".'),
        (bounce(email=None), 'Item 1 has no "email".'),
        (bounce(email=""), 'Item 1 has no "email".'),
        (bounce(email={}), 'Item 1 has no "email".'),
        (bounce(email="a" * 400), 'Item 1 has an "email" of more than 320 characters.'),
    ],
)
def test_item_that_cannot_be_read_names_what_is_wrong(item, reason):
    assert only(item) == Unparsed(reason=reason, raw=json.dumps(item))


def test_garbled_items_do_not_spoil_their_batch():
    items = [bounce(timestamp=1793500000 + number) for number in range(500)]
    items[3] = 7
    items[200] = bounce(email=None)
    items[499] = bounce(timestamp="yesterday")
    results = parse(items)
    assert [number for number, result in enumerate(results, start=1) if type(result) is Unparsed] == [4, 201, 500]
    assert [result.reason for result in results if type(result) is Unparsed] == [
        "Item 4 is not an object.",
        'Item 201 has no "email".',
        'Item 500 has a "timestamp" that is not a number of seconds.',
    ]
    assert len([result for result in results if type(result) is Event]) == 497


@pytest.mark.parametrize("broken", ["\\ud800", "\\u0000", "\t", "\xff"])
def test_one_broken_string_does_not_spoil_its_batch(broken):
    good = json.dumps(bounce(reason="550 5.1.1 User unknown"))
    body = f"[{good}, {good.replace('User', 'U' + broken + 'ser')}]".encode("latin-1")
    first, second = parse(body)
    assert first == only(bounce(reason="550 5.1.1 User unknown"))
    assert (second.kind, second.smtp_code, second.enhanced_code) == (Kind.BOUNCED, "550", "5.1.1")
    assert "\0" not in second.reply


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "The body is not JSON: JSON is malformed: invalid character (byte 0)."),
        (b"", "The body is not JSON: Input data was truncated."),
        (b"[" * 100_000, "The body is not JSON: it is nested too deeply."),
        (b"7", "The body is not a list of events."),
    ],
)
def test_body_that_is_no_batch_is_one_unparsed_item(body, reason):
    assert parse(body) == [Unparsed(reason=reason, raw=body[:4000].decode())]


def test_single_event_outside_a_list_is_read():
    assert parse(bounce()) == [only(bounce())]


def test_byte_order_mark_is_ignored():
    assert parse(b"\xef\xbb\xbf" + json.dumps([bounce()]).encode()) == [only(bounce())]


def test_empty_batch_has_no_results():
    assert parse([]) == []


@pytest.mark.parametrize("number", ["1e400", "9" * 4200, "9" * 5000, "-1e400"])
def test_number_out_of_range_spoils_nothing(number):
    body = json.dumps([bounce(), bounce(sg_event_id="@")]).replace('"@"', number).encode()
    first, second = parse(body)
    assert first == only(bounce())
    assert second.kind == Kind.BOUNCED


def test_recipient_is_cleaned_and_keeps_the_case_of_its_local_part():
    assert only(bounce(email=" Taro.Yamada@Example.JP ")).recipient == "Taro.Yamada@example.jp"


@pytest.mark.parametrize(
    ("message_id", "expected"),
    [("abc.recvd-5f54-1.0", "abc"), ("abc.filter0043p3-1.0", "abc"), ("abc", "abc"), ("", ""), (None, ""), ([], "")],
)
def test_message_id_ends_at_its_first_dot(message_id, expected):
    assert only(bounce(sg_message_id=message_id)).provider_message_id == expected


def test_title_is_our_own_argument_else_the_subject():
    assert only(bounce(ng_title="請求書", subject="x")).title == "請求書"
    assert only(bounce(subject="Invoice")).title == "Invoice"
    assert only(bounce()).title == ""


def test_our_arguments_may_be_numbers_and_are_never_too_long_for_an_index():
    assert only(bounce(ng_attempt=42)).attempt_ref == "42"
    assert only(bounce(ng_attempt="a" * 5000)).attempt_ref == "a" * 512


def test_drop_shows_the_longer_explanation_and_keeps_the_reason_in_the_verdict():
    event = only(bounce(event="dropped", reason=" Invalid ", message="The address is not valid."))
    assert (event.kind, event.verdict, event.reply) == (Kind.DROPPED, "dropped/invalid", "The address is not valid.")


@pytest.mark.parametrize(
    ("route_by", "changes", "route"),
    [
        ("", {"ng_tenant": "t_0042"}, ""),
        ("custom:ng_tenant", {"ng_tenant": "t_0042"}, "t_0042"),
        ("custom:ng_tenant", {"ng_tenant": 42}, "42"),
        ("custom:ng_tenant", {}, ""),
        ("custom:ng_tenant", {"ng_tenant": {"a": 1}}, ""),
        ("domain", {"from": "Notice <notice@Sender.Example>"}, "sender.example"),
        ("domain", {}, ""),
    ],
)
def test_route_of_a_shared_connection(route_by, changes, route):
    assert only(bounce(**changes), route_by=route_by).route == route


def test_missing_kinds_are_named_only_once_something_was_seen():
    assert PROVIDER.missing_event_kinds(frozenset()) == ()
    assert PROVIDER.missing_event_kinds(frozenset({Kind.DELIVERED, Kind.ENGAGED})) == (
        Kind.BOUNCED,
        Kind.DEFERRED,
        Kind.DROPPED,
    )
    assert PROVIDER.missing_event_kinds(frozenset(Kind)) == ()


@property_settings
@given(
    st.fixed_dictionaries(
        {"event": st.sampled_from(["bounce", "dropped", "deferred", "processed", "spamreport", "teleported"])},
        optional={
            "email": st.emails(),
            "timestamp": st.integers(1262304000, 1793500815),
            "type": st.text(),
            "reason": st.text(),
            "response": st.text(),
            "status": st.text(),
            "sg_message_id": st.text(),
        },
    )
)
def test_result_is_an_event_exactly_when_address_and_time_are_there(item):
    (result,) = PROVIDER.parse(msgspec.json.encode([item]), {}, ConnectionConfig(), RECEIVED_AT)
    assert (type(result) is Event) == ({"email", "timestamp"} <= set(item))
