"""Vonage's part of the sandbox, called by Vonage's own client."""

from __future__ import annotations

import pytest
import requests
from requests.adapters import HTTPAdapter
from vonage_http_client import Auth, HttpClient, HttpClientOptions
from vonage_http_client.errors import HttpRequestError, ServerError
from vonage_sms import Sms, SmsMessage
from vonage_sms.errors import SmsError

from providers.base import ConnectionConfig, Kind

SECRET = "signature-secret-of-32-characters"
API_SECRET = "s3cret"
CONFIG = ConnectionConfig(secrets=(SECRET,), settings={"api_key": "abcd1234"})


class Plain(HTTPAdapter):
    """The client knows https only; the sandbox speaks plain HTTP on loopback."""

    def send(self, request, **kwargs):
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **kwargs)


@pytest.fixture
def sms(sandbox, receiver):
    sandbox.add_account({"provider": "vonage", "api_key": "abcd1234", "url": receiver.url, "signature_secret": SECRET})
    return client(sandbox)


def client(sandbox, secret=API_SECRET):
    options = HttpClientOptions(rest_host=sandbox.url.removeprefix("http://"), max_retries=0, timeout=5)
    made = HttpClient(Auth(api_key="abcd1234", api_secret=secret), options)
    made._session.mount("https://", Plain())
    return Sms(made)


def send(sms, to, text="Hello", **changes):
    return sms.send(SmsMessage(to=to, from_="NOTIFY", text=text, **changes)).messages


def test_a_message_is_taken_and_its_signed_receipts_follow(sandbox, receiver, sms):
    (message,) = send(sms, "819012345678", client_ref=f"ng-{'a' * 32}")
    assert sandbox.settle()
    events = receiver.read("vonage", CONFIG)
    assert (message.status, message.client_ref) == ("0", f"ng-{'a' * 32}")
    assert sorted(event.verdict for event in events) == ["accepted/0", "delivered/0"]
    assert {(event.provider_message_id, event.recipient, event.sender, event.attempt_ref) for event in events} == {
        (message.message_id, "+819012345678", "NOTIFY", "a" * 32)
    }
    assert [row["attempt_ref"] for row in sandbox.sent()] == ["a" * 32]


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("0001", [(Kind.UNDELIVERED, "failed/3")]),
        ("0002", [(Kind.REJECTED, "rejected/6")]),
        ("0003", [(Kind.EXPIRED, "expired/1")]),
        ("0005", []),
    ],
)
def test_a_magic_number_meets_its_fate(sandbox, receiver, sms, digits, expected):
    send(sms, f"81901234{digits}", callback=f"{receiver.url}?for=this")
    assert sandbox.settle()
    assert [(event.kind, event.verdict) for event in receiver.read("vonage", CONFIG)] == expected
    assert {request.url for request in receiver.requests} <= {f"{receiver.url}?for=this"}


def test_each_part_of_a_long_text_has_its_own_id_and_receipt(sandbox, receiver, sms):
    parts = send(sms, "819012345678", text="字" * 140, type="unicode")
    assert sandbox.settle()
    delivered = [event for event in receiver.read("vonage", CONFIG) if event.kind is Kind.DELIVERED]
    assert len(parts) == 3
    assert {event.provider_message_id for event in delivered} == {part.message_id for part in parts}
    assert sandbox.counts()["notices"] == 1


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("819012340004", "error code 15: Illegal Sender Address"),
        ("819012340006", "error code 7: Number barred"),
        ("819012340007", "error code 1: Throughput Rate Exceeded"),
        ("12", "error code 3: Invalid to param"),
    ],
)
def test_a_refusal_has_vonages_status(sandbox, sms, to, words):
    with pytest.raises(SmsError, match=words):
        send(sms, to)
    assert sandbox.counts()["notices"] == 0


def test_a_revoked_secret_is_refused(sandbox, sms):
    with pytest.raises(SmsError, match="error code 4: Bad Credentials"):
        send(client(sandbox, "revoked"), "819012345678")


def test_trouble_at_vonage_is_an_http_status(sandbox, sms):
    with pytest.raises((ServerError, HttpRequestError)):
        send(sms, "819012340008")


def test_the_balance_is_there_for_a_good_key_only(sandbox, sms):
    url = f"{sandbox.url}/account/get-balance"
    good = requests.get(url, {"api_key": "abcd1234", "api_secret": "s3cret"}, timeout=5)
    bad = requests.get(url, {"api_key": "other", "api_secret": "s3cret"}, timeout=5)
    assert (good.status_code, good.json()["value"], bad.status_code) == (200, 10.0, 401)
