"""LINE WORKS: signed callbacks and reports in, events out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ConnectionConfig, ConnectionEvent, Event, Kind, Request, Unparsed, VerificationError
from providers.lineworks import BOT_HEADER, PROVIDER, SIGNATURE_HEADER
from providers.sandbox import lineworks as sandbox
from tests.providers.webhook_cases import WebhookCases, assert_readable, property_settings

PAYLOADS = Path(__file__).parents[1] / "payloads" / "lineworks"
EXPECTED = json.loads((PAYLOADS / "expected.json").read_text())
RECEIVED_AT = datetime(2026, 1, 2, 12, 5, tzinfo=UTC)
SECRET = "test-bot-secret"
CONFIG = ConnectionConfig(
    secrets=(SECRET,), settings={"bot_id": "2000001", "domains": "example.com, @Sales.example.com"}
)
REPORT = {
    "notice_id": "notice-1",
    "user_id": "taro.yamada@example.com",
    "title": "Your certificate is ready",
    "sent_at": "2026-01-02T21:04:00+09:00",
    "status": 403,
    "code": "FORBIDDEN",
    "description": "Forbidden",
}
ROOM = {"user_id": None, "channel_id": "12345a12-b12c"}


def request_of(body, headers):
    lowered = {name.lower(): value for name, value in headers.items()}
    return Request("POST", "https://notify.example.com/webhooks/lineworks/tok3n", lowered, body, RECEIVED_AT)


def refusal(request, config=CONFIG):
    with pytest.raises(VerificationError) as caught:
        PROVIDER.verify(request, config)
    return caught.value.reason


def parse(value, config=CONFIG, headers=None):
    return PROVIDER.parse(json.dumps(value).encode(), headers or {}, config, RECEIVED_AT)


def report(config=CONFIG, arrived_with=None, **changes):
    (event,) = parse({**REPORT, **changes}, config, arrived_with)
    return event


class TestCallback(WebhookCases):
    provider = PROVIDER
    body = (PAYLOADS / "callback_message.json").read_bytes()
    signature_header = SIGNATURE_HEADER
    oldest = None

    def config(self):
        return CONFIG

    def other_config(self):
        return ConnectionConfig(secrets=("another-secret",))

    def sign(self, body, at):
        return request_of(body, sandbox.sign(body, SECRET, "2000001"))


class TestReport(TestCallback):
    body = (PAYLOADS / "report_token_invalid_client.json").read_bytes()

    def sign(self, body, at):
        return request_of(body, sandbox.sign(body, SECRET))


def test_a_known_signature_passes():
    body = (
        b'{"type":"message","source":{"userId":"u1","domainId":40029600},'
        b'"issuedTime":"2022-01-04T05:16:05.716Z","content":{"type":"text","text":"hello"}}'
    )
    headers = {"X-WORKS-Signature": "sE3vKyD+vxaxww4UKrYH9IfIDZX8dZrzFCMFIN7DatE=", "X-WORKS-BotId": "2000001"}
    PROVIDER.verify(request_of(body, headers), CONFIG)


def test_both_secrets_are_valid_during_a_rotation():
    for secret in ("new", "old"):
        PROVIDER.verify(request_of(b"{}", sandbox.sign(b"{}", secret)), ConnectionConfig(secrets=("new", "old")))


def test_callbacks_of_another_bot_are_refused_only_when_the_bot_is_set():
    request = request_of(b"{}", sandbox.sign(b"{}", SECRET, "2000002"))
    assert refusal(request) == "account_wrong"
    PROVIDER.verify(request, ConnectionConfig(secrets=(SECRET,)))


@pytest.mark.parametrize(
    ("name", "kind", "detail", "user_id", "channel_id"),
    [
        ("message", "bot_message", "text", "userf7da-f82c-4284-13e7-030f3b4c756x", "12345a12-b12c-12d3-e123fghijkl"),
        ("postback", "bot_postback", "ack=ng-0195f1a2", "userf7da-f82c-4284-13e7-030f3b4c756x", ""),
        ("join", "bot_join", "", "", "12345a12-b12c-12d3-e123fghijkl"),
        ("leave", "bot_leave", "", "", "12345a12-b12c-12d3-e123fghijkl"),
        ("joined", "bot_joined", "userf7da-f82c-4284-13e7-030f3b4c756x", "", "12345a12-b12c-12d3-e123fghijkl"),
        ("left", "bot_left", "userf7da-f82c-4284-13e7-030f3b4c756x", "", "12345a12-b12c-12d3-e123fghijkl"),
        ("begin", "bot_begin", "", "userf7da-f82c-4284-13e7-030f3b4c756x", "12345a12-b12c-12d3-e123fghijkl"),
        ("end", "bot_end", "", "userf7da-f82c-4284-13e7-030f3b4c756x", ""),
    ],
)
def test_callbacks_are_about_the_connection_and_never_about_a_notice(name, kind, detail, user_id, channel_id):
    body = (PAYLOADS / f"callback_{name}.json").read_bytes()
    (event,) = PROVIDER.parse(body, {}, CONFIG, RECEIVED_AT)
    assert (type(event), event.kind, event.detail) == (ConnectionEvent, kind, detail)
    assert event.data == {"user_id": user_id, "channel_id": channel_id}
    assert event.occurred_at.replace(microsecond=0) == datetime(2025, 3, 4, 5, 16, 5, tzinfo=UTC)


def test_what_a_person_wrote_to_the_bot_is_not_kept():
    (event,) = parse({"type": "message", "source": {}, "content": {"type": "text", "text": "private words"}})
    assert event.detail == "text"


def test_a_button_in_a_message_keeps_its_data():
    (event,) = parse({"type": "message", "source": {}, "content": {"type": "text", "text": "OK", "postback": "ack=1"}})
    assert event.detail == "ack=1"


def test_a_report_becomes_one_event_with_all_it_says():
    assert report() == Event(
        kind=Kind.FAILED,
        recipient="taro.yamada@example.com",
        occurred_at=datetime(2026, 1, 2, 12, 4, tzinfo=UTC),
        verdict="403 FORBIDDEN",
        reply="403 FORBIDDEN Forbidden",
        provider_message_id="notice-1",
        title="Your certificate is ready",
    )


def test_without_a_time_the_identity_does_not_depend_on_the_arrival():
    event = report(sent_at=None)
    assert event.occurred_at == RECEIVED_AT
    assert event.provider_event_id == "~notice-1/taro.yamada@example.com/403 FORBIDDEN"


@pytest.mark.parametrize("value", [[REPORT, REPORT], {"results": [REPORT, REPORT]}])
def test_a_batch_is_an_array_or_an_array_under_results(value):
    assert parse(value) == [report(), report()]


@pytest.mark.parametrize("status", [201, "201", 200])
def test_an_accepted_send_is_accepted(status):
    event = report(status=status, code=None, description=None)
    assert (event.kind, event.verdict, event.reply) == (Kind.ACCEPTED, str(status), str(status))


CHALLENGE = 'Bearer error="insufficient_scope"'


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"code": "access_denied"}, "403 ACCESS_DENIED"),
        ({"code": None}, "403"),
        ({"status": "404", "code": "NOT_FOUND"}, "404 NOT_FOUND"),
        (
            {"status": 429, "code": "TOO_MANY_REQUESTS", "description": "API rate limit exceeded"},
            "429 TOO_MANY_REQUESTS",
        ),
        ({"headers": {"WWW-Authenticate": CHALLENGE}}, "403 FORBIDDEN +scope"),
        ({"headers": {"www-authenticate": CHALLENGE}}, "403 FORBIDDEN +scope"),
        ({"headers": {"www-authenticate": 'Bearer error="invalid_token"'}}, "403 FORBIDDEN"),
        ({"headers": [CHALLENGE]}, "403 FORBIDDEN"),
        ({"description": "Not allowed API"}, "403 FORBIDDEN +scope"),
        ({"description": "The scope is missing", "status": 401}, "401 FORBIDDEN +scope"),
        ({"description": "The scope is missing", "status": 400}, "400 FORBIDDEN"),
        ({"description": "スコープが不足しています"}, "403 FORBIDDEN +scope"),
        ({"description": "Daily limit", "status": 429}, "429 FORBIDDEN +daily"),
        ({"description": "1日の上限を超えました", "status": 429}, "429 FORBIDDEN +daily"),
        ({"user_id": "hanako@partner.example"}, "403 FORBIDDEN +foreign"),
        ({"user_id": "hanako@SALES.example.com"}, "403 FORBIDDEN"),
        ({"user_id": "hanako@example.com.evil.example"}, "403 FORBIDDEN +foreign"),
        ({"user_id": "userf7da-f82c"}, "403 FORBIDDEN"),
        (ROOM, "403 FORBIDDEN +room"),
        ({"code": "CHANNEL_NOT_EXIST", "status": 404}, "404 CHANNEL_NOT_EXIST +room"),
        ({"code": "DOMAIN_NOT_EXIST", "status": 404}, "404 DOMAIN_NOT_EXIST +domain"),
        ({"description": "not belonging to the tenant"}, "403 FORBIDDEN +domain"),
        ({"code": "NONEXISTENT_BOT"}, "403 NONEXISTENT_BOT +bot"),
        ({"description": "Botが見つかりません"}, "403 FORBIDDEN +bot"),
        ({"description": "the robot failed"}, "403 FORBIDDEN"),
        ({**ROOM, "description": "bot of another domain"}, "403 FORBIDDEN +room +domain +bot"),
        (
            {"description": 'Cannot find "bot@mydomain.example"', "user_id": "bot@mydomain.example"},
            "403 FORBIDDEN +foreign",
        ),
    ],
)
def test_the_verdict_is_status_code_and_what_header_and_words_name(changes, verdict):
    event = report(**changes)
    assert (event.kind, event.verdict) == (Kind.FAILED, verdict)


def test_without_the_organisations_domains_no_login_id_is_foreign():
    assert report(ConnectionConfig(secrets=(SECRET,)), user_id="hanako@partner.example").verdict == "403 FORBIDDEN"


@pytest.mark.parametrize(
    ("changes", "verdict", "reply"),
    [
        ({"status": None, "code": None, "description": None, "error": "timeout"}, "network", "timeout"),
        (
            {"status": None, "code": None, "description": "after 10 s", "error": "timeout"},
            "network",
            "timeout after 10 s",
        ),
        (
            {"status": 400, "code": None, "description": None, "token_error": "invalid_scope"},
            "token invalid_scope",
            "400 invalid_scope",
        ),
        (
            {
                "status": None,
                "code": None,
                "description": None,
                "token_error": {"error": "INVALID_CLIENT", "error_description": "No"},
            },
            "token invalid_client",
            "invalid_client No",
        ),
    ],
)
def test_a_send_without_an_answer_of_the_api_says_where_it_ended(changes, verdict, reply):
    event = report(**changes)
    assert (event.kind, event.verdict, event.reply) == (Kind.FAILED, verdict, reply)


@pytest.mark.parametrize(("route_by", "route"), [("domain_id", "40029600"), ("bot_id", "2000001"), ("", "")])
def test_shared_connections_are_routed_by_domain_or_bot(route_by, route):
    config = ConnectionConfig(secrets=(SECRET,), route_by=route_by)
    assert report(config, {BOT_HEADER: "2000001"}, domain_id=40029600).route == route
    assert report(config, {}, domain_id=40029600, bot_id=2000001).route == route


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"status": 403}, "Item 1 is neither a callback nor a report: it has no user_id and no channel_id."),
        ({**REPORT, "status": None}, "Item 1 has neither an HTTP status nor an error."),
        ({**REPORT, "status": "forbidden"}, "Item 1 has a status that is not an HTTP status."),
        ({**REPORT, "status": 999}, "Item 1 has a status that is not an HTTP status."),
        ({**REPORT, "sent_at": "today"}, 'Item 1 has a "sent_at" that is not a date and time.'),
        (
            {**REPORT, "sent_at": "2009-01-01T00:00:00Z"},
            "Item 1 has a time before 2010 or more than 48 hours after its arrival.",
        ),
        (
            {**REPORT, "sent_at": "2026-01-05T00:00:00Z"},
            "Item 1 has a time before 2010 or more than 48 hours after its arrival.",
        ),
        (
            {"type": "novelty", "source": {}, "issuedTime": "2026-01-01T00:00:00Z"},
            "Item 1 is a callback of a type that is not known.",
        ),
        (7, "Item 1 is not an object."),
    ],
)
def test_what_can_not_be_read_is_unparsed_and_says_why(item, reason):
    assert parse(item) == [Unparsed(reason=reason, raw=json.dumps(item))]


def test_one_bad_report_leaves_its_batch_alone():
    results = parse([REPORT, {**REPORT, "status": "x"}, REPORT])
    assert [type(result) for result in results] == [Event, Unparsed, Event]
    assert results[1].reason == "Item 2 has a status that is not an HTTP status."


def test_nothing_is_known_to_be_missing():
    assert PROVIDER.missing_event_kinds(frozenset({Kind.FAILED})) == ()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_captured_payloads_become_the_expected_events(name):
    parsed = PROVIDER.parse((PAYLOADS / name).read_bytes(), {}, CONFIG, RECEIVED_AT)
    events = [item.kind.value for item in parsed if isinstance(item, Event)]
    assert events == [EXPECTED[name]["state"]] * EXPECTED[name]["events"]
    assert not [item for item in parsed if isinstance(item, Unparsed)]


@property_settings
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                *REPORT,
                "channel_id",
                "error",
                "token_error",
                "headers",
                "type",
                "source",
                "issuedTime",
                "members",
                "content",
            ]
        ),
        st.none()
        | st.integers(0, 999)
        | st.text(max_size=12)
        | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)
        | st.lists(st.none() | st.text(max_size=4), max_size=2),
    )
)
def test_parse_never_raises_whatever_the_fields(changes):
    assert_readable(parse({**REPORT, **changes}))
