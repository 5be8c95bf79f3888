"""SMPP carriers: signed receipts in, events out."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ConnectionConfig, Event, Kind, Request, Unparsed, VerificationError
from providers.callback import FORM
from providers.phone import to_e164
from providers.sandbox import smpp as sandbox
from providers.smpp import PROVIDER, SIGNATURE_HEADER, receipt_fields
from tests.providers.webhook_cases import WebhookCases, assert_readable, property_settings

PAYLOADS = Path(__file__).parents[1] / "payloads" / "smpp"
EXPECTED = json.loads((PAYLOADS / "expected.json").read_text())
RECEIVED_AT = datetime(2026, 1, 2, 12, 5, tzinfo=UTC)
NOW = int(RECEIVED_AT.timestamp())
SECRET = "carrier-secret"
JSON = "application/json"
LINE = "id:0123456789 sub:001 dlvrd:001 submit date:2601021200 done date:2601021204 stat:DELIVRD err:000 text:Your certificate is"
FIELDS = {
    "id": "0123456789",
    "to": "+447700900123",
    "from": "NOTIFY",
    "stat": "UNDELIV",
    "err": "001",
    "done_date": "2601021204",
    "title": "Your certificate is ready",
    "client_ref": "ng-77",
}


def config_of(route_by="", **settings):
    return ConnectionConfig(secrets=(SECRET,), settings=settings, route_by=route_by)


def parse(item, config=None):
    return PROVIDER.parse(json.dumps(item).encode(), {"content-type": JSON}, config or config_of(), RECEIVED_AT)


def only(config=None, **changes):
    (event,) = parse({**FIELDS, **changes}, config)
    return event


def request_of(body, header):
    headers = {"content-type": JSON, SIGNATURE_HEADER: header}
    return Request("POST", "https://notify.example.com/webhooks/smpp/tok3n", headers, body, RECEIVED_AT)


def mac_of(stamp, body, secret=SECRET):
    return hmac.digest(secret.encode(), f"{stamp}.".encode() + body, "sha256").hex()


class TestWebhook(WebhookCases):
    provider = PROVIDER
    body = (PAYLOADS / "undeliv_absolute_time.json").read_bytes()
    signature_header = SIGNATURE_HEADER

    def config(self):
        return config_of()

    def other_config(self):
        return ConnectionConfig(secrets=("another-secret",))

    def sign(self, body, at):
        headers = {name.lower(): value for name, value in sandbox.sign(body, SECRET, int(at.timestamp())).items()}
        return self.request(body, {"content-type": JSON, **headers})


def test_any_of_several_signatures_and_secrets_is_enough():
    body = b"{}"
    header = f"t={NOW}, v1={mac_of(NOW, body, 'newest')} ,v1={mac_of(NOW, body, 'old')},v2=x"
    PROVIDER.verify(request_of(body, header), ConnectionConfig(secrets=("new", "old")))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"v1={mac_of('', b'{}')}", "timestamp_stale"),
        (f"t={NOW + 1},v1={mac_of(NOW, b'{}')}", "signature_wrong"),
        (f"t={NOW}", "signature_wrong"),
        (f"t={'9' * 400},v1={mac_of('9' * 400, b'{}')}", "timestamp_stale"),
        ("", "signature_missing"),
    ],
)
def test_a_signature_without_its_own_recent_time_is_refused(header, reason):
    with pytest.raises(VerificationError) as caught:
        PROVIDER.verify(request_of(b"{}", header), config_of())
    assert caught.value.reason == reason


def test_a_receipt_of_fields_becomes_one_event_with_all_it_says():
    assert only() == Event(
        kind=Kind.UNDELIVERED,
        recipient="+447700900123",
        occurred_at=datetime(2026, 1, 2, 12, 4, tzinfo=UTC),
        verdict="UNDELIV/1",
        provider_event_id="0123456789/UNDELIV/1",
        provider_message_id="0123456789",
        attempt_ref="77",
        sender="NOTIFY",
        title="Your certificate is ready",
    )


def test_a_raw_receipt_line_says_the_same_as_fields_and_is_kept_as_the_reply():
    assert parse({"to": "447700900123", "receipt": LINE}) == [
        Event(
            kind=Kind.DELIVERED,
            recipient="+447700900123",
            occurred_at=datetime(2026, 1, 2, 12, 4, tzinfo=UTC),
            verdict="DELIVRD/0",
            reply=LINE,
            provider_event_id="0123456789/DELIVRD/0",
            provider_message_id="0123456789",
        )
    ]


def test_a_form_says_the_same_as_json():
    parsed = PROVIDER.parse(urlencode(FIELDS).encode(), {"content-type": FORM}, config_of(), RECEIVED_AT)
    assert parsed == [only()]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            LINE,
            {
                "id": "0123456789",
                "sub": "001",
                "dlvrd": "001",
                "submit_date": "2601021200",
                "done_date": "2601021204",
                "stat": "DELIVRD",
                "err": "000",
            },
        ),
        (
            "STAT:UNDELIV Done_Date:2601021204 ID:9 Err:0000",
            {"stat": "UNDELIV", "done_date": "2601021204", "id": "9", "err": "0000"},
        ),
        ("id:9 stat:EXPIRED Text:stat:DELIVRD id:1", {"id": "9", "stat": "EXPIRED"}),
        ("stat: err:12", {"stat": "", "err": "12"}),
        ("nothing readable", {}),
        ("", {}),
    ],
)
def test_receipt_lines_are_read_in_any_order_case_and_completeness(line, fields):
    assert receipt_fields(line) == fields


@pytest.mark.parametrize(
    ("word", "state", "kind"),
    [
        ("ENROUTE", "ENROUTE", Kind.ACCEPTED),
        ("ACCEPTD", "ACCEPTD", Kind.ACCEPTED),
        ("SCHEDLD", "SCHEDLD", Kind.ACCEPTED),
        ("delivrd", "DELIVRD", Kind.DELIVERED),
        ("Delivered", "DELIVRD", Kind.DELIVERED),
        ("EXPIRED", "EXPIRED", Kind.EXPIRED),
        ("DELETED", "DELETED", Kind.CANCELED),
        ("UNDELIV", "UNDELIV", Kind.UNDELIVERED),
        ("undeliverable", "UNDELIV", Kind.UNDELIVERED),
        ("FAILED", "FAILED", Kind.UNDELIVERED),
        ("UNKNOWN", "UNKNOWN", Kind.NO_RECEIPT),
        ("REJECTD", "REJECTD", Kind.REJECTED),
        ("rejected", "REJECTD", Kind.REJECTED),
        ("NACK", "NACK", Kind.REJECTED),
        ("SKIPPED", "SKIPPED", Kind.REJECTED),
        ("NOVELTY", "NOVELTY", Kind.UNKNOWN),
    ],
)
def test_each_state_has_its_kind(word, state, kind):
    event = only(stat=word)
    assert (event.kind, event.verdict) == (kind, f"{state}/1")


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (0, "SCHEDLD"),
        (1, "ENROUTE"),
        ("2", "DELIVRD"),
        (3, "EXPIRED"),
        (4, "DELETED"),
        (5, "UNDELIV"),
        (6, "ACCEPTD"),
        (7, "UNKNOWN"),
        (8, "REJECTD"),
        (9, "SKIPPED"),
    ],
)
def test_the_message_state_of_the_pdu_beats_the_text(number, state):
    assert only(message_state=number, stat="ENROUTE").verdict == f"{state}/1"


@pytest.mark.parametrize("number", [10, "x", None, True])
def test_a_message_state_that_is_none_leaves_it_to_the_text(number):
    assert only(message_state=number).verdict == "UNDELIV/1"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"err": "000"}, "UNDELIV/0"),
        ({"err": "0"}, "UNDELIV/0"),
        ({"err": 27}, "UNDELIV/27"),
        ({"err": "00B"}, "UNDELIV/B"),
        ({"err": ""}, "UNDELIV/"),
        ({"err": "", "network_error_code": 6}, "UNDELIV/6"),
        ({"err": "", "receipt": "err:021"}, "UNDELIV/21"),
    ],
)
def test_the_error_code_loses_its_leading_zeros_only(changes, verdict):
    assert only(**changes).verdict == verdict


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2601021204", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("260102120430", datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)),
        ("202601021204", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("20260102120430", datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)),
        ("260102120430912+", datetime(2026, 1, 2, 9, 4, 30, tzinfo=UTC)),
        ("260102120430020-", datetime(2026, 1, 2, 17, 4, 30, tzinfo=UTC)),
        ("2026-01-02 12:04:30", datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)),
        ("2026-01-02T12:04:30Z", datetime(2026, 1, 2, 12, 4, 30, tzinfo=UTC)),
    ],
)
def test_dates_without_a_zone_are_read_in_the_connections(written, read):
    assert only(config_of(timezone="Asia/Tokyo"), done_date=written).occurred_at == read


def test_without_a_setting_the_carriers_clock_is_utc():
    assert only().occurred_at == datetime(2026, 1, 2, 12, 4, tzinfo=UTC)


@pytest.mark.parametrize("missing", ["", "0000000000", None])
def test_without_a_done_date_the_identity_does_not_depend_on_the_arrival(missing):
    event = only(done_date=missing)
    assert (event.occurred_at, event.provider_event_id) == (RECEIVED_AT, "~0123456789/UNDELIV/1")


IMPLAUSIBLE = "Item 1 has a time before 2010 or more than 48 hours after its arrival."
NO_DATE = 'Item 1 has a "done_date" that is not a date and time.'


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"to": ""}, "Item 1 names no recipient (to)."),
        ({"stat": ""}, "Item 1 has no status (stat or message_state)."),
        ({"id": "", "client_ref": "order-7"}, "Item 1 names no message (id)."),
        ({"done_date": "0912312359"}, IMPLAUSIBLE),
        ({"done_date": "2601041206"}, IMPLAUSIBLE),
        ({"done_date": "0001-01-01T00:00:00+23:00"}, IMPLAUSIBLE),
        ({"done_date": "9999-12-31T23:59:59-23:00"}, IMPLAUSIBLE),
        ({"done_date": "2613021204"}, NO_DATE),
        ({"done_date": "yesterday"}, NO_DATE),
        ({"done_date": "260102120430999+"}, NO_DATE),
    ],
)
def test_what_can_not_be_read_is_unparsed_and_says_why(changes, reason):
    item = {**FIELDS, **changes}
    assert parse(item) == [Unparsed(reason=reason, raw=json.dumps(item))]


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "Asia", "\0"])
def test_an_unknown_time_zone_leaves_the_receipt_unparsed_for_a_replay(name):
    (result,) = parse(FIELDS, config_of(timezone=name))
    assert result.reason == "Item 1 has a time in the connection's time zone, which is not a known one."


def test_one_bad_item_leaves_its_batch_alone():
    results = parse([FIELDS, "garbage", FIELDS])
    assert [type(result) for result in results] == [Event, Unparsed, Event]
    assert results[1].reason == "Item 2 is not an object."


def test_an_attempt_of_ours_stands_in_for_a_missing_message_id():
    event = only(id="")
    assert (event.provider_message_id, event.attempt_ref) == ("", "77")


@pytest.mark.parametrize(
    ("route_by", "route"), [("field:tenant", "acme"), ("field:from", "NOTIFY"), ("field:none", ""), ("", "")]
)
def test_shared_connections_are_routed_by_any_field(route_by, route):
    assert only(config_of(route_by), tenant="acme").route == route


def test_only_a_connection_that_never_saw_a_delivery_misses_one():
    assert PROVIDER.missing_event_kinds(frozenset({Kind.UNDELIVERED})) == (Kind.DELIVERED,)
    assert PROVIDER.missing_event_kinds(frozenset({Kind.DELIVERED})) == ()
    assert PROVIDER.missing_event_kinds(frozenset()) == ()


@pytest.mark.parametrize(
    ("number", "country", "e164"),
    [
        ("819012345678", "", "+819012345678"),
        ("+81 90-1234-5678", "", "+819012345678"),
        ("＋８１９０１２３４５６７８", "", "+819012345678"),
        ("09012345678", "", "09012345678"),
        ("090-1234-5678", "jp", "+819012345678"),
        ("9012345678", "JP", "+819012345678"),
        ("819012345678", "JP", "+819012345678"),
        ("447700900123", "JP", "+447700900123"),
        ("0901234567", "JP", "0901234567"),
        ("12345", "", "12345"),
        ("NOTIFY", "JP", "NOTIFY"),
        ("whatsapp:+819012345678", "", "whatsapp:+819012345678"),
        ("+1234567890123456", "", "+1234567890123456"),
        ("+0901234567", "", "+0901234567"),
        ("819012345678", "no country", "+819012345678"),
        ("", "JP", ""),
    ],
)
def test_numbers_become_e164_where_that_can_be_known(number, country, e164):
    assert to_e164(number, country) == e164


@property_settings
@given(st.text(max_size=20), st.sampled_from(["", "JP", "US", "xx"]))
def test_any_text_is_taken_for_a_number_without_an_error(number, country):
    assert isinstance(to_e164(number, country), str)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_captured_payloads_become_the_expected_events(name):
    content_type = JSON if name.endswith(".json") else FORM
    parsed = PROVIDER.parse((PAYLOADS / name).read_bytes(), {"content-type": content_type}, config_of(), RECEIVED_AT)
    assert [item.kind.value for item in parsed] == [EXPECTED[name]["state"]] * EXPECTED[name]["events"]


def test_the_captured_absolute_time_is_three_hours_ahead_of_utc():
    (event,) = PROVIDER.parse((PAYLOADS / "undeliv_absolute_time.json").read_bytes(), {}, config_of(), RECEIVED_AT)
    assert event.occurred_at == datetime(2025, 3, 11, 7, 0, 12, tzinfo=UTC) - timedelta(hours=3)


VALUES = st.none() | st.integers() | st.text(max_size=20) | st.from_regex(r"[0-9+:TZ .-]{8,20}", fullmatch=True)


@property_settings
@given(
    item=st.dictionaries(st.sampled_from([*FIELDS, "receipt", "message_state", "network_error_code"]), VALUES),
    zone=st.sampled_from(["", "Asia/Tokyo", "nowhere"]),
)
def test_parse_never_raises_whatever_the_fields(item, zone):
    assert_readable(parse({**FIELDS, **item}, config_of(timezone=zone, country="JP")))


@property_settings
@given(line=st.text(max_size=60) | st.from_regex(r"(id|stat|err|done date|text):[a-z0-9 ]{0,12}", fullmatch=True))
def test_parse_never_raises_whatever_the_receipt_line(line):
    assert_readable(parse({"to": "447700900123", "receipt": line}))
