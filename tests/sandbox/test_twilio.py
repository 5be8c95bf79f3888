"""Twilio's part of the sandbox, called by Twilio's own client."""

from __future__ import annotations

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from providers.base import ConnectionConfig, Kind

SID = "AC" + "1" * 32
TOKEN = "t0ken"
CONFIG = ConnectionConfig(secrets=(TOKEN,), settings={"account_sid": SID})


def client(sandbox, secret=TOKEN):
    made = Client(SID, secret, http_client=TwilioHttpClient(timeout=5, pool_connections=False))
    made.api.base_url = sandbox.url
    return made


def send(sandbox, to, secret=TOKEN, **changes):
    values = {"to": to, "from_": "+15017122661", "body": "Hello", **changes}
    return client(sandbox, secret).messages.create(**values)


def refusal(*args, **changes):
    with pytest.raises(TwilioRestException) as caught:
        send(*args, **changes)
    return caught.value.status, caught.value.code


def test_a_message_is_queued_and_reported_to_the_callback_it_names(sandbox, receiver):
    message = send(sandbox, "+819012345678", status_callback=f"{receiver.url}?ng_attempt={'a' * 32}#rp=all")
    assert sandbox.settle()
    events = receiver.read("twilio", CONFIG)
    assert (message.status, message.to, message.body) == ("queued", "+819012345678", "Hello")
    assert sorted(event.verdict for event in events) == ["delivered/", "sent/"]
    assert {(event.provider_message_id, event.recipient, event.sender) for event in events} == {
        (message.sid, "+819012345678", "+15017122661")
    }
    assert {request.url for request in receiver.requests} == {f"{receiver.url}?ng_attempt={'a' * 32}"}
    assert [row["attempt_ref"] for row in sandbox.sent()] == ["a" * 32]


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("0001", [(Kind.UNDELIVERED, "undelivered/30005")]),
        ("0002", [(Kind.REJECTED, "undelivered/30007")]),
        ("0003", [(Kind.EXPIRED, "undelivered/30036")]),
        ("0005", []),
    ],
)
def test_a_magic_number_meets_its_fate(sandbox, receiver, digits, expected):
    send(sandbox, f"+81901234{digits}", status_callback=receiver.url)
    assert sandbox.settle()
    events = [event for event in receiver.read("twilio", CONFIG) if event.kind is not Kind.ACCEPTED]
    assert [(event.kind, event.verdict) for event in events] == expected


@pytest.mark.parametrize(
    ("to", "changes", "expected"),
    [
        ("+819012340004", {}, (400, 21606)),
        ("+819012340006", {}, (400, 21610)),
        ("+819012340007", {}, (429, 20429)),
        ("+819012340008", {}, (500, 20500)),
        ("09012345678", {}, (400, 21211)),
        ("+819012345678", {"from_": ""}, (400, 21603)),
        ("+819012345678", {"body": ""}, (400, 21602)),
        ("+819012345678", {"body": "x" * 1601}, (400, 21617)),
        ("+819012345678", {"status_callback": "nowhere"}, (400, 21609)),
        ("+819012345678", {"secret": "revoked"}, (401, 20003)),
    ],
)
def test_a_refusal_has_twilios_code(sandbox, to, changes, expected):
    assert refusal(sandbox, to, **changes) == expected
    assert sandbox.counts()["notices"] == 0


def test_the_account_is_active_with_its_own_token_only(sandbox):
    sandbox.add_account({"provider": "twilio", "account_sid": SID, "auth_token": TOKEN})
    assert client(sandbox).api.accounts(SID).fetch().status == "active"
    assert refusal(sandbox, "+819012345678", secret="other") == (401, 20003)


def test_a_messaging_service_stands_for_a_sender(sandbox):
    message = send(sandbox, "+819012345678", from_=None, messaging_service_sid="MG" + "2" * 32)
    assert (message.status, message.messaging_service_sid) == ("accepted", "MG" + "2" * 32)
