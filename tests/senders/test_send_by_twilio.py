"""Sending SMS through Twilio."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urldefrag, urlencode

import pytest

from deliveries.classify import Report, classify
from providers.base import Channel, ConnectionConfig, Kind, Request
from providers.callback import query_as_body
from providers.sandbox.twilio import sign_form, sign_url
from providers.senders.twilio import SENDER
from providers.sending import Accepted, NoAnswer, Refused, TryLater
from providers.twilio import PROVIDER
from tests.senders.scripted import REF, account_of, notice_for, reply

TAKEN = reply(201, {"sid": "SM0123", "status": "queued", "error_code": None})


def failure(status, code, message="words"):
    return reply(status, {"code": code, "message": message, "status": status})


def send(url, notice=None, **more):
    (result,) = SENDER.send([notice or notice_for("twilio")], account_of("twilio", url, **more)).results
    return result


def test_a_notice_is_one_message_with_a_callback_url_of_its_own(provider):
    provider.script = [TAKEN]
    result = send(provider.url, callback_url="https://notify.example.com/webhooks/twilio/tok")
    (request,) = provider.seen
    assert result == Accepted(provider_message_id="SM0123", answer="201 Created queued")
    assert (request.method, request.path) == ("POST", "/2010-04-01/Accounts/AC0123/Messages.json")
    assert request.headers["authorization"].startswith("Basic ")
    assert request.form == {
        "To": "+819012345678",
        "From": "+15005550006",
        "Body": "Your certificate of enrolment is ready.",
        "StatusCallback": f"https://notify.example.com/webhooks/twilio/tok?ng_attempt={REF}#rc=5&rp=all",
    }


@pytest.mark.parametrize(
    ("sender", "parameter"), [(f"MG{'0a' * 16}", "MessagingServiceSid"), ("MGROUP", "From"), ("+15005550009", "From")]
)
def test_a_messaging_service_is_told_from_other_senders_and_there_may_be_no_callback(sender, parameter, provider):
    provider.script = [TAKEN]
    send(provider.url, notice_for("twilio", sender=sender, text=""))
    assert provider.seen[0].form == {"To": "+819012345678", parameter: sender, "Body": "Certificate ready"}


def test_a_callback_url_with_a_query_keeps_it(provider):
    provider.script = [TAKEN]
    send(provider.url, callback_url="https://notify.example.com/w?a=1")
    assert provider.seen[0].form["StatusCallback"] == (f"https://notify.example.com/w?a=1&ng_attempt={REF}#rc=5&rp=all")


def test_the_installations_edge_and_region_do_not_choose_whom_we_call(provider, monkeypatch):
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    provider.script = [TAKEN]
    assert isinstance(send(provider.url), Accepted)


@pytest.mark.parametrize(
    ("status", "code", "meaning", "suppress"),
    [
        (400, 21211, "INVALID_MOBILE_NUMBER", "yes"),
        (400, 21614, "INVALID_MOBILE_NUMBER", "yes"),
        (400, 21214, "INVALID_MOBILE_NUMBER", "after_repeats"),
        (400, 21408, "HANDOVER_ERROR", "no"),
        (400, 21606, "HANDOVER_ERROR", "no"),
        (400, 21617, "HANDOVER_ERROR", "no"),
        (400, 21609, "HANDOVER_ERROR", "no"),
        (401, 20003, "HANDOVER_ERROR", "no"),
        (404, 20404, "HANDOVER_ERROR", "no"),
    ],
)
def test_a_refusal_is_read_by_its_code(status, code, meaning, suppress, provider):
    provider.script = [failure(status, code)]
    result = send(provider.url)
    assert result == Refused(
        verdict=f"failed/{code}", answer=f"{status} {code} Unable to create record: words", kind=Kind.FAILED
    )
    verdict = classify(Report(Channel.SMS, "twilio", result.kind, result.verdict, reply=result.answer))
    assert (verdict.code, verdict.suppress) == (meaning, suppress)


def test_who_opted_out_was_never_tried(provider):
    provider.script = [failure(400, 21610)]
    result = send(provider.url)
    assert (type(result), result.kind) == (Refused, Kind.DROPPED)
    verdict = classify(Report(Channel.SMS, "twilio", result.kind, result.verdict))
    assert (verdict.reason, verdict.suppress) == ("SMS_OPTED_OUT", "yes")


@pytest.mark.parametrize(
    ("status", "code", "wait_s"),
    [(429, 20429, None), (400, 14107, None), (429, 21611, None), (429, 63017, None), (429, 63038, 3600.0)],
)
def test_limits_hold_for_the_whole_account(status, code, wait_s, provider):
    provider.script = [failure(status, code)]
    result = send(provider.url)
    assert result == TryLater(verdict=f"failed/{code}", answer=result.answer, wait_s=wait_s, account_wide=True)


@pytest.mark.parametrize(("status", "code"), [(500, 20500), (503, 20503), (400, 21730)])
def test_trouble_at_twilio_is_passing(status, code, provider):
    provider.script = [failure(status, code)]
    result = send(provider.url)
    assert result == TryLater(verdict=f"failed/{code}", answer=result.answer)


def test_an_error_in_the_newer_form_is_read_alike(provider):
    body = {"type": "about:blank", "title": "Invalid 'To'", "status": 400, "code": 21211, "detail": "No number."}
    provider.script = [reply(400, body)]
    assert send(provider.url) == Refused(verdict="failed/21211", answer="400 21211 Invalid 'To' No number.")


def test_a_success_that_cannot_be_read_leaves_it_open(provider):
    provider.script = [reply(201, b"<html>")]
    assert isinstance(send(provider.url), NoAnswer)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(200, {"sid": "AC0123", "status": "active"}), None),
        (reply(200, {"sid": "AC0123", "status": "suspended"}), "failed/20005"),
        (failure(401, 20003), "failed/20003"),
    ],
)
def test_the_probe_asks_for_the_account(answer, expected, provider):
    provider.script = [answer]
    result = SENDER.probe(account_of("twilio", provider.url))
    assert (result and result.verdict) == expected
    assert (provider.seen[0].method, provider.seen[0].path) == ("GET", "/2010-04-01/Accounts/AC0123.json")


STATUS = {"MessageSid": "SM0123", "MessageStatus": "delivered", "To": "+819012345678", "AccountSid": "AC0123"}
CONFIG = ConnectionConfig(secrets=("tw-secret",), settings={"account_sid": "AC0123"})
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def callback_url(provider):
    """The URL that a send gives Twilio, as Twilio calls it."""
    provider.script = [TAKEN]
    send(provider.url, callback_url="https://notify.example.com/webhooks/twilio/tok")
    return urldefrag(provider.seen[0].form["StatusCallback"]).url


def lower(headers):
    return {name.lower(): text for name, text in headers.items()}


def test_a_callback_to_the_messages_own_url_is_genuine(callback_url):
    headers = lower(sign_form(callback_url, STATUS, "tw-secret"))
    request = Request("POST", callback_url, headers, urlencode(STATUS).encode(), NOW)
    PROVIDER.verify(request, CONFIG)
    (event,) = PROVIDER.parse(request.body, request.headers, CONFIG, NOW)
    assert (event.kind, event.provider_message_id) == (Kind.DELIVERED, "SM0123")


def test_a_callback_by_get_names_the_attempt(callback_url):
    url = f"{callback_url}&{urlencode(STATUS)}"
    request = Request("GET", url, lower(sign_url(url, "tw-secret")), b"", NOW)
    PROVIDER.verify(request, CONFIG)
    carrying = query_as_body(request)
    (event,) = PROVIDER.parse(carrying.body, carrying.headers, CONFIG, NOW)
    assert (event.kind, event.attempt_ref) == (Kind.DELIVERED, REF)
